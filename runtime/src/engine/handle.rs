//! The engine as its callers hold it: cheap to clone, and shared between threads.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, bounded, unbounded};
use sluicegate_constraint::{Cache, CacheStats};
use sluicegate_core::{
    messages::RequestId,
    scheduler::SchedulerConfig,
    serve::{Limits, Metrics, ServeConfig},
    timeline::Timeline,
};
use sluicegate_model::open::Model;
use sluicegate_placement::Plan;
use tokio::sync::mpsc::unbounded_channel;

use super::{
    Command, admission,
    builder::EngineBuilder,
    driver::{Driver, SharedState},
    error::{BuildError, EngineFailure, SubmitError},
    open::{OpenOptions, StartError},
};
use super::{request::Request, stream::Generation};
use crate::device::Ledger;

/// What stands for any longer time that may be asked for.
const LONGEST_SHUTDOWN: Duration = Duration::from_hours(24);

/// A model at work. Clones share it; the last one to go shuts it down.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    commands: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    state: Arc<SharedState>,
    limits: Limits,
    model: Model,
    plan: Plan,
    constraints: Cache,
    scheduler: SchedulerConfig,
    ledger: Ledger,
    next_request: AtomicU64,
}

impl Engine {
    /// Opens a model by its name on the devices of this machine, as is usual; see [`OpenOptions`].
    ///
    /// # Errors
    /// [`StartError`] naming what is missing or wrong.
    pub fn open(name: &str) -> Result<Self, StartError> {
        OpenOptions::new().open(name)
    }

    /// Begins an engine for a model, placed by a finished plan.
    pub fn builder(model: Model, plan: Plan) -> EngineBuilder {
        EngineBuilder::new(model, plan)
    }

    pub(super) fn start(
        driver: Driver,
        model: Model,
        plan: Plan,
        constraints: Cache,
    ) -> Result<Self, BuildError> {
        let (commands, inbox) = unbounded();
        let ServeConfig { scheduler, limits, .. } = driver.serve.config().clone();
        let (state, ledger) = (Arc::clone(&driver.shared), driver.ledger.clone());
        let thread = std::thread::Builder::new()
            .name("sluicegate-engine".to_owned())
            .spawn(move || driver.run(&inbox))?;
        let shared = Shared {
            commands,
            thread: Mutex::new(Some(thread)),
            state,
            limits,
            model,
            plan,
            constraints,
            scheduler,
            ledger,
            next_request: AtomicU64::new(1),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Checks a request and starts it.
    ///
    /// # Errors
    /// [`SubmitError`] if it cannot run here; nothing was scheduled then, and nobody else is
    /// disturbed.
    pub fn submit(&self, request: Request) -> Result<Generation, SubmitError> {
        let shared = &self.shared;
        if let Some(failure) = self.failure() {
            return Err(SubmitError::Failed(failure));
        }
        if shared.state.is_closing.load(Ordering::Relaxed) {
            return Err(SubmitError::ShutDown);
        }
        let (admitted, constraint) =
            admission::admit(request, &shared.model, &shared.constraints, &shared.scheduler)?;
        let num_prompts = admitted.prompts.len();
        let waiting = shared.state.num_waiting.fetch_add(num_prompts, Ordering::Relaxed);
        if waiting >= self.shared.limits.max_waiting {
            shared.state.num_waiting.fetch_sub(num_prompts, Ordering::Relaxed);
            return Err(SubmitError::Busy { waiting });
        }
        let request = RequestId(shared.next_request.fetch_add(1, Ordering::Relaxed));
        let (events, receiver) = unbounded_channel();
        let command = Command::Submit { request, admitted: Box::new(admitted), constraint, events };
        if shared.commands.send(command).is_err() {
            return Err(self.refusal());
        }
        let (commands, failure) = (shared.commands.clone(), Arc::clone(&shared.state.failure));
        Ok(Generation::new(request, receiver, commands, failure))
    }

    /// Why the engine failed, if it did.
    pub fn failure(&self) -> Option<Arc<EngineFailure>> {
        self.shared.state.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes no more requests, and waits until those that run have ended, but no longer than
    /// `within`: then the others end with an error, and so does the engine.
    pub fn shutdown(&self, within: Duration) {
        self.shared.shutdown(within);
    }

    /// What the engine is doing, and what it did so far.
    pub fn metrics(&self) -> Metrics {
        let (reply, answer) = bounded(1);
        let asked = self.shared.commands.send(Command::Metrics(reply));
        asked.ok().and_then(|()| answer.recv().ok()).unwrap_or_else(|| {
            // The thread has ended, and has left them.
            self.shared.join();
            let last = &self.shared.state.last_metrics;
            last.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    /// What every stage did when, for the microbatches that came back since this was asked last:
    /// the latest 65,536 of them. Empty without [`EngineBuilder::record_timeline`], and once the
    /// engine has ended.
    pub fn timeline(&self) -> Timeline {
        let (reply, answer) = bounded(1);
        let asked = self.shared.commands.send(Command::Timeline(reply));
        asked.ok().and_then(|()| answer.recv().ok()).unwrap_or_default()
    }

    /// The plan that it runs.
    pub fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    /// The model that it runs.
    pub fn model(&self) -> &Model {
        &self.shared.model
    }

    /// Every byte that has crossed a device border so far.
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// What the cache of compiled constraints has done so far.
    pub fn constraint_cache(&self) -> CacheStats {
        self.shared.constraints.stats()
    }

    fn refusal(&self) -> SubmitError {
        // The thread closes its channel only when it ends, and has then left its reason.
        self.shared.join();
        self.failure().map_or(SubmitError::ShutDown, SubmitError::Failed)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("plan", &self.shared.plan).finish_non_exhaustive()
    }
}

impl Shared {
    fn shutdown(&self, within: Duration) {
        let now = Instant::now();
        let deadline = now.checked_add(within).unwrap_or(now + LONGEST_SHUTDOWN);
        self.state.is_closing.store(true, Ordering::Relaxed);
        // A thread that has ended needs no telling.
        let _ = self.commands.send(Command::Shutdown { deadline });
        self.join();
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}
