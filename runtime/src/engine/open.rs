//! An engine by a model's name: what is usual, and what may be chosen otherwise.

use sluicegate_model::{
    error::{OpenError, SourceError},
    open::Model,
    source::{ModelSource, Progress, Silent},
};
use sluicegate_placement::{Cluster, Plan, PlanError, Policy};
use sluicegate_spec::kv::KvType;

use super::{Engine, EngineBuilder, error::BuildError};
use crate::device::{self, DeviceSelector, Routes, discover, selector::SelectorError};

/// What an engine is opened with.
///
/// Everything is as usual to begin with: all GPUs of this machine, or one CPU device where there
/// are none; units where the planner puts them for the most tokens per second; and a cache that
/// takes what is left of the memory, up to 0.9 of a GPU's and half of a host's
/// ([`Policy::memory_share`]).
///
/// ```no_run
/// # fn main() -> Result<(), sluicegate::engine::StartError> {
/// let engine = sluicegate::OpenOptions::new().cpu_devices(2).open("smollm2")?;
/// # drop(engine);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct OpenOptions {
    devices: DeviceSelector,
    cpu_devices: u32,
    policy: Policy,
    kv_type: KvType,
    routes: Routes,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            devices: DeviceSelector::Auto,
            cpu_devices: 1,
            policy: Policy::default(),
            kv_type: KvType::default(),
            routes: Routes::default(),
        }
    }
}

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Model(#[from] OpenError),
    #[error(transparent)]
    Devices(#[from] SelectorError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl OpenOptions {
    /// What is usual.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which devices of this machine are used.
    #[must_use]
    pub fn devices(mut self, devices: DeviceSelector) -> Self {
        self.devices = devices;
        self
    }

    /// Logical CPU devices that this machine shows; they share its memory and its cores.
    #[must_use]
    pub fn cpu_devices(mut self, num_devices: u32) -> Self {
        self.cpu_devices = num_devices;
        self
    }

    /// What is wanted of the placement: objective, expected load, limits.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How hidden values go from GPU to GPU.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = routes;
        self
    }

    /// In what keys and values are kept.
    #[must_use]
    pub fn kv_type(mut self, kv_type: KvType) -> Self {
        self.kv_type = kv_type;
        self
    }

    /// The devices that are wanted, as they are now. Where a CPU is among them its speed is
    /// measured, for about a second, and kept in the cache folder for two weeks.
    ///
    /// # Errors
    /// [`StartError::Devices`] if one is not there.
    pub fn cluster(&self) -> Result<Cluster, StartError> {
        let found = discover::discover(&self.devices, self.cpu_devices)?;
        for reason in &found.left_out {
            tracing::warn!("a GPU is not used: {reason}");
        }
        Ok(device::cluster(&found, self.policy.objective, self.routes))
    }

    /// Places a model that is open.
    ///
    /// # Errors
    /// [`StartError`] if a device is not there or the model does not fit.
    pub fn plan(&self, model: &Model) -> Result<Plan, StartError> {
        self.plan_on(model, &self.cluster()?)
    }

    fn plan_on(&self, model: &Model, cluster: &Cluster) -> Result<Plan, StartError> {
        Ok(sluicegate_placement::plan(&model.profile(self.kv_type), cluster, &self.policy)?)
    }

    /// Places a model that is open, for an engine of which more is to be said.
    ///
    /// # Errors
    /// As [`OpenOptions::plan`].
    pub fn builder(&self, model: Model) -> Result<EngineBuilder, StartError> {
        let plan = self.plan(&model)?;
        Ok(self.begin(model, plan))
    }

    fn begin(&self, model: Model, plan: Plan) -> EngineBuilder {
        Engine::builder(model, plan).kv_type(self.kv_type)
    }

    /// Opens the model that `name` stands for (an alias, a file, a directory or a repository of the
    /// hub, as [`ModelSource::parse`] reads it) and starts an engine. What is not on this machine
    /// yet is fetched.
    ///
    /// # Errors
    /// [`StartError`] naming what is missing or wrong.
    pub fn open(&self, name: &str) -> Result<Engine, StartError> {
        self.open_with(name, &Silent)
    }

    /// As [`OpenOptions::open`], and tells of what is fetched.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open_with(&self, name: &str, progress: &dyn Progress) -> Result<Engine, StartError> {
        // Nothing is fetched for devices that are not there.
        let (source, cluster) = (ModelSource::parse(name)?, self.cluster()?);
        let model = Model::open(&source.resolve(progress)?)?;
        let plan = self.plan_on(&model, &cluster)?;
        Ok(self.begin(model, plan).build()?)
    }
}
