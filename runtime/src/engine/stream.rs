//! What a caller gets: a stream of events. The one bridge between threads and `async`.

use std::{
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
};

use crossbeam_channel::Sender;
use futures_core::Stream;
use sluicegate_core::messages::RequestId;
pub use sluicegate_core::{
    messages::Token,
    sequence::FinishReason,
    serve::{Event, MaskWait, Output, OutputId, Timings, Usage},
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Command, FailureSlot, GenerationError};

/// The running request. A [`Stream`] of events, and a blocking iterator; dropping it cancels.
#[derive(Debug)]
pub struct Generation {
    events: UnboundedReceiver<Result<Event, GenerationError>>,
    has_ended: bool,
    failure: Arc<FailureSlot>,
    _cancel: CancelOnDrop,
}

impl Generation {
    pub(crate) fn new(
        request: RequestId,
        events: UnboundedReceiver<Result<Event, GenerationError>>,
        commands: Sender<Command>,
        failure: Arc<FailureSlot>,
    ) -> Self {
        Self { events, has_ended: false, failure, _cancel: CancelOnDrop { request, commands } }
    }

    /// Waits for the next event, in an `async` context.
    pub async fn next_event(&mut self) -> Option<Result<Event, GenerationError>> {
        let event = self.events.recv().await;
        self.checked(event)
    }

    /// Waits for the end and collects the outputs, by prompt and index.
    ///
    /// Blocks; not for an `async` context.
    ///
    /// # Errors
    /// [`GenerationError`] if the request failed.
    pub fn wait(self) -> Result<Completion, GenerationError> {
        let mut completion = Completion::default();
        for event in self {
            match event? {
                Event::Text { .. } => {}
                Event::Output(output) => completion.outputs.push(output),
                Event::Finished { usage, timings } => {
                    completion.usage = usage;
                    completion.timings = timings;
                }
            }
        }
        completion.outputs.sort_by_key(|output| output.id);
        Ok(completion)
    }
}

impl Generation {
    /// An engine that ended without a word to this request is an error, and not a short output.
    fn checked(
        &mut self,
        event: Option<Result<Event, GenerationError>>,
    ) -> Option<Result<Event, GenerationError>> {
        match &event {
            Some(Ok(Event::Finished { .. }) | Err(_)) => self.has_ended = true,
            Some(Ok(_)) => {}
            None if self.has_ended => {}
            None => {
                self.has_ended = true;
                let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let error = failure.map_or(GenerationError::ShutDown, GenerationError::Engine);
                return Some(Err(error));
            }
        }
        event
    }
}

/// A finished request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    pub outputs: Vec<Output>,
    pub usage: Usage,
    pub timings: Timings,
}

/// Blocks for each event; not for an `async` context.
impl Iterator for Generation {
    type Item = Result<Event, GenerationError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.events.blocking_recv();
        self.checked(event)
    }
}

impl Stream for Generation {
    type Item = Result<Event, GenerationError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context).map(|event| self.checked(event))
    }
}

#[derive(Debug)]
struct CancelOnDrop {
    request: RequestId,
    commands: Sender<Command>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // An engine that is gone has nothing to cancel.
        let _ = self.commands.send(Command::Cancel(self.request));
    }
}
