//! Where an engine under test runs.

use std::collections::BTreeSet;

use candle_core::Device;
use sluicegate::{Engine, device::Devices};
use sluicegate_model::open::Model;
use sluicegate_placement::Plan;
use sluicegate_spec::{device::DeviceId, kv::KvType};
use sluicegate_tests::engines::even_plan_on;

/// The device of each stage.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) stages: Vec<DeviceId>,
    /// Whether it must give the bits of one stage on the CPU.
    pub(crate) is_exact: bool,
}

impl Target {
    pub(crate) fn cpu(num_stages: usize) -> Self {
        Self { stages: vec![DeviceId::Cpu(0); num_stages], is_exact: true }
    }

    /// Stages on all GPUs in turn, so that on a machine with one they share it.
    ///
    /// # Panics
    /// Where there is none that can be used.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(num_stages: usize) -> Self {
        use sluicegate::device::driver;

        let gpus = driver::gpus().unwrap_or_else(|reason| panic!("there is no GPU: {reason}"));
        for gpu in &gpus {
            assert_eq!(gpu.refused, None, "{} cannot be used", gpu.name);
        }
        assert!(!gpus.is_empty(), "the driver shows no GPU");
        let stages = gpus.iter().map(|gpu| gpu.id).cycle().take(num_stages).collect();
        Self { stages, is_exact: false }
    }

    /// Each device once, opened when it is its turn: the one that was opened last is current.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Device> {
        let distinct: BTreeSet<DeviceId> = self.stages.iter().copied().collect();
        distinct.into_iter().map(|id| Devices::open([id]).unwrap().get(id).unwrap())
    }

    pub(crate) fn plan(&self, model: &Model, kv_type: KvType) -> Plan {
        even_plan_on(model, &self.stages, kv_type)
    }
}

/// Starts an engine with keys and values of a type.
pub(crate) fn start(model: &Model, plan: &Plan, kv_type: KvType) -> Engine {
    let builder = Engine::builder(model.clone(), plan.clone()).kv_type(kv_type);
    builder.build().unwrap_or_else(|error| panic!("the engine does not start: {error:?}"))
}
