//! Where an engine under test runs.

use std::{collections::BTreeSet, env, sync::Once};

use candle_core::Device;
use sluicegate::{Engine, device::Devices};
use sluicegate_model::open::Model;
use sluicegate_placement::{Plan, Route};
use sluicegate_slow::skip;
use sluicegate_spec::{device::DeviceId, kv::KvType};
use sluicegate_tests::engines::even_plan_over;

/// Set where tests of GPUs must not be skipped.
const NEEDED: &str = "SLUICEGATE_NEEDS_GPU";

/// The device of each stage.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) stages: Vec<DeviceId>,
    /// How hidden values go from GPU to GPU.
    pub(crate) route: Route,
    /// Whether it must give the bits of one stage on the CPU.
    pub(crate) is_exact: bool,
}

impl Target {
    #[expect(clippy::unnecessary_wraps, reason = "GPUs may be missing")]
    pub(crate) fn cpu(num_stages: usize) -> Option<Self> {
        Some(Self {
            stages: vec![DeviceId::Cpu(0); num_stages],
            route: Route::Host,
            is_exact: true,
        })
    }

    /// Stages on GPUs that are linked through the host's memory.
    pub(crate) fn gpus(num_stages: usize) -> Option<Self> {
        Self::on_gpus(num_stages, Route::Host)
    }

    /// Stages on GPUs that copy from each other's memory.
    pub(crate) fn peers(num_stages: usize) -> Option<Self> {
        Self::on_gpus(num_stages, Route::Peer)
    }

    /// Stages on all GPUs in turn, so that on a machine with one they share it. Without any it says
    /// so, once.
    ///
    /// # Panics
    /// Where one cannot be used, or none is there and some must be.
    fn on_gpus(num_stages: usize, route: Route) -> Option<Self> {
        static SAID: Once = Once::new();
        match gpus() {
            Ok(gpus) => {
                let stages = gpus.into_iter().cycle().take(num_stages).collect();
                Some(Self { stages, route, is_exact: false })
            }
            Err(why) if env::var_os(NEEDED).is_some() => panic!("{NEEDED} is set, but {why}"),
            Err(why) => {
                SAID.call_once(|| skip(format_args!("all suites on GPUs: {why}")));
                None
            }
        }
    }

    /// Each device once, opened when it is its turn: the one that was opened last is current.
    pub(crate) fn handles(&self) -> impl Iterator<Item = Device> {
        let distinct: BTreeSet<DeviceId> = self.stages.iter().copied().collect();
        distinct.into_iter().map(|id| Devices::open([id]).unwrap().get(id).unwrap())
    }

    pub(crate) fn plan(&self, model: &Model, kv_type: KvType) -> Plan {
        even_plan_over(model, &self.stages, kv_type, self.route)
    }
}

#[cfg(feature = "cuda")]
fn gpus() -> Result<Vec<DeviceId>, String> {
    use sluicegate::device::driver;

    let gpus = driver::gpus().map_err(|reason| format!("there is no GPU: {reason}"))?;
    for gpu in &gpus {
        assert_eq!(gpu.refused, None, "{} cannot be used", gpu.name);
    }
    if gpus.is_empty() {
        return Err("the driver shows no GPU".to_owned());
    }
    Ok(gpus.iter().map(|gpu| gpu.id).collect())
}

#[cfg(not(feature = "cuda"))]
fn gpus() -> Result<Vec<DeviceId>, String> {
    Err("they need a build with the feature cuda, as scripts/cuda-check makes it".to_owned())
}

/// Starts an engine with keys and values of a type.
pub(crate) fn start(model: &Model, plan: &Plan, kv_type: KvType) -> Engine {
    let builder = Engine::builder(model.clone(), plan.clone()).kv_type(kv_type);
    builder.build().unwrap_or_else(|error| panic!("the engine does not start: {error:?}"))
}
