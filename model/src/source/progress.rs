//! Reports the progress of a fetch to its caller.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Receives the progress of a fetch. Called from several threads.
pub trait Progress: Send + Sync {
    /// A part of the work begins; `total_bytes` is zero if unknown.
    fn start(&self, what: &str, total_bytes: u64);
    /// This many more bytes are done.
    fn advance(&self, num_bytes: u64);
    /// The part that began last is done.
    fn finish(&self);
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _total_bytes: u64) {}
    fn advance(&self, _num_bytes: u64) {}
    fn finish(&self) {}
}

/// A bar on stderr, drawn only if stderr is a terminal.
#[derive(Debug, Default)]
pub struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.0.lock() {
            act(&mut bar);
        }
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, total_bytes: u64) {
        let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let total = (total_bytes > 0).then_some(total_bytes);
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        self.with(|slot| *slot = Some(bar));
    }

    fn advance(&self, num_bytes: u64) {
        self.with(|slot| {
            if let Some(bar) = slot {
                bar.inc(num_bytes);
            }
        });
    }

    fn finish(&self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }
}
