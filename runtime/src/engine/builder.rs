//! How an engine comes to be: a model, a finished plan, and threads that start together.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZero,
    sync::Arc,
    time::Duration,
};

use sluicegate_constraint::{Cache, CacheLimits, Compiler};
use sluicegate_model::open::Model;

use super::{core::Core, error::BuildError, handle::Engine};
use crate::{
    device::{Devices, Ledger, Links},
    masker::{Masker, MaskerConfig, MaskerOutlet},
    pipeline::{Pipeline, PipelineConfig},
    placement::{Endpoint, Plan, Transfer},
    sampler::Sampler,
    scheduler::{Scheduler, SchedulerConfig},
    vocabulary,
};

/// Collects what an engine is built from.
#[derive(Debug)]
pub struct EngineBuilder {
    model: Model,
    plan: Plan,
    transfers: Option<Vec<Transfer>>,
    threads_per_stage: Option<NonZero<usize>>,
    masker: MaskerConfig,
    constraint_cache: CacheLimits,
}

impl EngineBuilder {
    pub(super) fn new(model: Model, plan: Plan) -> Self {
        Self {
            model,
            plan,
            transfers: None,
            threads_per_stage: None,
            masker: MaskerConfig::default(),
            constraint_cache: CacheLimits::default(),
        }
    }

    /// Replaces the plan's own list of transfers, so that tests can leave one out.
    #[must_use]
    pub fn transfers(mut self, transfers: Vec<Transfer>) -> Self {
        self.transfers = Some(transfers);
        self
    }

    /// Threads that each stage on a CPU computes with. Without this, a single stage takes all
    /// processors, and several stages compute inline, each in its own thread.
    #[must_use]
    pub fn threads_per_stage(mut self, num_threads: NonZero<usize>) -> Self {
        self.threads_per_stage = Some(num_threads);
        self
    }

    /// Threads that compute masks. Without this there are two, or one on a single processor.
    #[must_use]
    pub fn mask_workers(mut self, num_workers: NonZero<usize>) -> Self {
        self.masker.num_workers = num_workers;
        self
    }

    /// How long one mask may take before its row fails. Without this it is a second.
    #[must_use]
    pub fn mask_deadline(mut self, deadline: Duration) -> Self {
        self.masker.deadline = deadline;
        self
    }

    /// How many compiled constraints are kept for the requests to come.
    #[must_use]
    pub fn constraint_cache(mut self, limits: CacheLimits) -> Self {
        self.constraint_cache = limits;
        self
    }

    /// Starts the stages, which load their weights at the same time, and the engine's threads.
    ///
    /// # Errors
    /// [`BuildError`]; every thread that had started has ended by then.
    pub fn build(self) -> Result<Engine, BuildError> {
        let Self { model, plan, transfers, threads_per_stage, masker, constraint_cache } = self;
        let (wanted, found) = (model.config.num_layers, plan.num_layers);
        if wanted != found {
            return Err(BuildError::WrongPlan { wanted, found });
        }
        let vocab = Arc::new(vocabulary::of(&model.tokenizer, model.config.vocab)?);
        let constraints = Cache::new(Compiler::new(Arc::clone(&vocab))?, constraint_cache);
        let devices = Devices::open(plan.stages.iter().map(|stage| stage.device))?;
        let ledger = Ledger::default();
        let transfers = transfers.unwrap_or_else(|| plan.transfers());
        let links = Arc::new(Links::new(&transfers, &devices, ledger.clone()));
        let scheduler = scheduler_config(&plan);
        let incarnation = 1;
        let (pipeline, masks) = Pipeline::start(&PipelineConfig {
            plan: &plan,
            model: &model.config,
            weights: &model.weights,
            devices: &devices,
            links: Arc::clone(&links),
            sampler: Sampler::new(vocab.allow_all().into()),
            threads_per_stage: threads_per_stage.unwrap_or_else(|| default_threads(&plan)),
            channel_capacity: channel_capacity(&scheduler),
            incarnation,
        })?;
        let outlet = MaskerOutlet {
            links: Arc::clone(&links),
            last_stage: Endpoint::Stage(plan.last_stage()),
            masks,
            events: pipeline.event_sender(),
            num_words: vocab.num_words(),
        };
        let masker = Masker::start(outlet, masker)?;
        let core = Core {
            masker,
            pipeline,
            scheduler: Scheduler::new(scheduler.clone()),
            links,
            tokenizer: model.tokenizer.clone(),
            incarnation,
            requests: BTreeMap::new(),
            groups: HashMap::new(),
            mask_failures: HashMap::new(),
        };
        Engine::start(core, model, plan, constraints, (scheduler, ledger))
    }
}

fn scheduler_config(plan: &Plan) -> SchedulerConfig {
    SchedulerConfig {
        kv_groups: plan.kv_groups.clone(),
        pages_per_group: plan.pages_per_group.clone(),
        max_in_flight: plan.microbatches,
        token_budget: plan.chunk_tokens.max(1),
        attention_cost: 0.0,
        shares_prefixes: true,
    }
}

/// Room for every turn in flight: a microbatch, and a reorder for each group in it. A group adds a
/// token at least, so the engine never waits for a stage.
fn channel_capacity(scheduler: &SchedulerConfig) -> usize {
    scheduler.max_in_flight * (1 + scheduler.token_budget)
}

fn default_threads(plan: &Plan) -> NonZero<usize> {
    if plan.stages.len() > 1 {
        return NonZero::<usize>::MIN;
    }
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}
