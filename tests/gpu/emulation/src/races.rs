//! Who has used which memory, and whether each two that must be in order are.

use std::{collections::HashMap, fmt, sync::Arc};

use sluicegate_ptx::Kernel;

use crate::{
    memory::{Slot, Span, Touched, Use},
    queue::{Clock, Point},
};

/// Uses of one allocation that are remembered; older ones are forgotten.
const MAX_USES: usize = 64;

/// What is called by which name in a report.
#[derive(Debug, Clone)]
pub(crate) enum Label {
    Named(&'static str),
    Kernel(Arc<Kernel>),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Kernel(kernel) => write!(f, "the kernel `{}`", kernel.name),
        }
    }
}

/// Work that uses memory, and what is ordered before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor<'a> {
    pub(crate) label: &'a Label,
    pub(crate) point: Point,
    pub(crate) clock: &'a Clock,
}

#[derive(Debug, Clone)]
struct Past {
    label: Label,
    point: Point,
    used: Use,
    span: Span,
}

/// The latest uses of each allocation.
#[derive(Debug, Default)]
pub(crate) struct Races {
    pasts: HashMap<Slot, Vec<Past>>,
}

impl Races {
    /// Takes note of a use.
    ///
    /// # Errors
    /// The words for a race: an earlier use of the same bytes, one of both writing them, that is not
    /// ordered before this one.
    pub(crate) fn add(&mut self, touched: &Touched, actor: Actor<'_>) -> Result<(), String> {
        let Touched { slot, read, written, .. } = touched;
        let pasts = self.pasts.entry(*slot).or_default();
        for (used, span) in [(Use::Read, read), (Use::Write, written)] {
            let Some(span) = *span else { continue };
            check(pasts, (used, span), actor)?;
            // What is covered by a later write in order can race with nobody that the write does
            // not race with.
            let is_covered = |past: &Past| {
                let is_within = past.span.address >= span.address && past.span.end() <= span.end();
                let is_as_strong = used == Use::Write || past.used == Use::Read;
                is_within
                    && is_as_strong
                    && is_before(past.point, actor)
                    && (used == Use::Write || past.point.stream == actor.point.stream)
            };
            pasts.retain(|past| !is_covered(past));
            if pasts.len() == MAX_USES {
                pasts.remove(0);
            }
            pasts.push(Past { label: actor.label.clone(), point: actor.point, used, span });
        }
        Ok(())
    }

    /// Forgets an allocation that is freed.
    pub(crate) fn forget(&mut self, slot: Slot) {
        self.pasts.remove(&slot);
    }
}

fn check(pasts: &[Past], (used, span): (Use, Span), actor: Actor<'_>) -> Result<(), String> {
    let races = |past: &&Past| {
        let overlap = past.span.address < span.end() && span.address < past.span.end();
        let one_writes = used == Use::Write || past.used == Use::Write;
        overlap && one_writes && !is_before(past.point, actor)
    };
    let Some(past) = pasts.iter().find(races) else { return Ok(()) };
    let verb = |used| match used {
        Use::Read => "reads",
        Use::Write => "writes",
    };
    let (Past { label, point, .. }, Actor { label: other, point: other_point, .. }) = (past, actor);
    Err(format!(
        "a race: {label} on stream {} {} memory that {other} on stream {} {}, and neither waits for \
         the other",
        point.stream.0,
        verb(past.used),
        other_point.stream.0,
        verb(used),
    ))
}

fn is_before(past: Point, actor: Actor<'_>) -> bool {
    past.stream == actor.point.stream || actor.clock.is_behind(past)
}
