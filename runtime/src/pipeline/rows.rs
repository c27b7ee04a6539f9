//! A microbatch's rows of logits at the last stage, sampled where they are.

use sluicegate_core::messages::{GroupChoices, GroupSampling, MaskRow};
use sluicegate_model::{home::Executor, step::Logits};
use sluicegate_spec::{device::DeviceId, placed::Placed};

use super::error::StageError;
use crate::{
    device::{GpuRows, GpuSampler, LogitRows, SampleError, TransferError, Uploader},
    sampler::Sampler,
};

/// The rows at hand, and what samples them.
pub(super) struct Rows {
    device: DeviceId,
    place: Place,
}

enum Place {
    /// In the host's memory.
    Host { sampler: Sampler, rows: LogitRows },
    /// In that of a GPU.
    Gpu { sampler: GpuSampler, rows: Option<GpuRows> },
}

/// Rows of a group whose masks are late.
pub(super) enum Kept {
    Host(Vec<Vec<f32>>),
    Gpu(GpuRows),
}

/// Groups that were sampled.
#[derive(Default)]
pub(super) struct SampledGroups {
    pub(super) groups: Vec<GroupChoices>,
    /// What was read out of a GPU's memory for them, if it was.
    pub(super) downloaded: Option<usize>,
}

impl Rows {
    pub(super) fn new(device: DeviceId, sampler: Sampler, uploader: Uploader) -> Self {
        let place = match device {
            DeviceId::Cuda(_) => {
                Place::Gpu { sampler: GpuSampler::new(sampler, uploader, device), rows: None }
            }
            DeviceId::Host | DeviceId::Cpu(_) => {
                Place::Host { sampler, rows: LogitRows::default() }
            }
        };
        Self { device, place }
    }

    /// Takes a microbatch's logits, if it has any, in place of those before. On a CPU it reads them,
    /// and waits until they have been computed.
    pub(super) fn take(
        &mut self,
        logits: Option<&Placed<Logits>>,
        executor: &Executor,
    ) -> Result<(), TransferError> {
        match &mut self.place {
            Place::Host { rows, .. } => rows.read(logits, self.device),
            Place::Gpu { rows, .. } => {
                let new = |logits| GpuRows::new(logits, self.device, executor);
                *rows = logits.map(new).transpose()?;
                Ok(())
            }
        }
    }

    /// A copy of a group's rows.
    pub(super) fn keep(&mut self, group: &GroupSampling) -> Result<Kept, StageError> {
        let range = group.logit_rows.clone();
        Ok(match &mut self.place {
            Place::Host { rows, .. } => {
                Kept::Host(rows.rows(range).iter().map(|row| row.to_vec()).collect())
            }
            Place::Gpu { rows, .. } => {
                let rows = rows.as_ref().ok_or(StageError::NoLogits)?;
                Kept::Gpu(rows.copy(range).map_err(SampleError::from)?)
            }
        })
    }

    /// Samples groups of the microbatch at hand; on a GPU, all by one call.
    pub(super) fn sample(
        &mut self,
        groups: &[&GroupSampling],
        masks: &[Option<MaskRow>],
    ) -> Result<SampledGroups, StageError> {
        match &mut self.place {
            Place::Host { sampler, rows } => {
                let sample = |group: &&GroupSampling| {
                    sampler.sample(group, &mut rows.rows(group.logit_rows.clone()), masks)
                };
                let groups = groups.iter().map(sample).collect();
                Ok(SampledGroups { groups, downloaded: None })
            }
            Place::Gpu { .. } if groups.is_empty() => Ok(SampledGroups::default()),
            Place::Gpu { sampler, rows } => {
                let rows = rows.as_ref().ok_or(StageError::NoLogits)?;
                sample_on_gpu(sampler, rows, groups, masks)
            }
        }
    }

    /// Samples a group whose rows were kept.
    pub(super) fn sample_kept(
        &mut self,
        group: &GroupSampling,
        kept: Kept,
        masks: &[Option<MaskRow>],
    ) -> Result<SampledGroups, StageError> {
        match (&mut self.place, kept) {
            (Place::Host { sampler, .. }, Kept::Host(mut rows)) => {
                let mut rows: Vec<&mut [f32]> = rows.iter_mut().map(Vec::as_mut_slice).collect();
                let groups = vec![sampler.sample(group, &mut rows, masks)];
                Ok(SampledGroups { groups, downloaded: None })
            }
            (Place::Gpu { sampler, .. }, Kept::Gpu(rows)) => {
                sample_on_gpu(sampler, &rows, &[group], masks)
            }
            _ => Err(StageError::NoLogits),
        }
    }
}

fn sample_on_gpu(
    sampler: &mut GpuSampler,
    rows: &GpuRows,
    groups: &[&GroupSampling],
    masks: &[Option<MaskRow>],
) -> Result<SampledGroups, StageError> {
    let (groups, num_bytes) = sampler.sample(rows, groups, masks)?;
    Ok(SampledGroups { groups, downloaded: Some(num_bytes) })
}
