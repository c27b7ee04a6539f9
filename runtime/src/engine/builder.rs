//! How an engine comes to be: a model, a finished plan, and threads that start together.

use std::{
    collections::{HashMap, VecDeque},
    io::Write,
    num::NonZero,
    sync::Arc,
    time::Duration,
};

use sluicegate_constraint::{Cache, CacheLimits, Compiler};
use sluicegate_core::{
    scheduler::{OrderBounds, SchedulerConfig},
    serve::{Limits, Serve, ServeConfig},
};
use sluicegate_model::{kv_pages::page_bytes, open::Model, threads};
use sluicegate_placement::{Endpoint, Plan, Transfer};
use sluicegate_spec::{config::ModelConfig, kv::KvType, units::Bytes};

use super::{
    driver::{Driver, SharedState},
    error::BuildError,
    handle::Engine,
    journal::{JournalWriter, RecordOptions},
    recorder::Recorder,
};
use crate::{
    clock::Clock,
    device::{Devices, Ledger, Links, trust::trusted},
    masker::{BeforeMatcher, Masker, MaskerConfig, MaskerOutlet},
    pipeline::{BeforeForward, Pipeline, PipelineConfig},
    sampler::Sampler,
    vocabulary,
};

/// Collects what an engine is built from.
pub struct EngineBuilder {
    model: Model,
    plan: Plan,
    transfers: Option<Vec<Transfer>>,
    threads_per_stage: Option<NonZero<usize>>,
    cores: Vec<usize>,
    kv_type: KvType,
    masker: MaskerConfig,
    constraint_cache: CacheLimits,
    limits: Limits,
    shares_prefixes: bool,
    reckons_ahead: bool,
    records_timeline: bool,
    record: Option<(Box<dyn Write + Send>, RecordOptions)>,
    before_forward: Option<BeforeForward>,
}

impl EngineBuilder {
    pub(super) fn new(model: Model, plan: Plan) -> Self {
        Self {
            model,
            plan,
            transfers: None,
            threads_per_stage: None,
            cores: Vec::new(),
            kv_type: KvType::default(),
            masker: MaskerConfig::default(),
            constraint_cache: CacheLimits::default(),
            limits: Limits::default(),
            shares_prefixes: true,
            reckons_ahead: true,
            records_timeline: false,
            record: None,
            before_forward: None,
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

    /// Lets each thread of the stages run on one core alone: the first stage's threads on the first
    /// cores, and so on, a core for each thread. Mask workers and the engine's own thread stay
    /// where the system puts them. Without this all do.
    #[must_use]
    pub fn pin_to_cores(mut self, cores: Vec<usize>) -> Self {
        self.cores = cores;
        self
    }

    /// In what keys and values are kept; f32 without this. The plan must have been made for it,
    /// with its bytes as [`ElementBytes::kv`](sluicegate_spec::profile::ElementBytes::kv).
    #[must_use]
    pub fn kv_type(mut self, kv_type: KvType) -> Self {
        self.kv_type = kv_type;
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

    /// After what time a mask that is not ready keeps no other row of its microbatch waiting: they
    /// are sampled without it, and its row once it has come. Without this it is ten milliseconds.
    #[must_use]
    pub fn mask_late(mut self, late: Duration) -> Self {
        self.masker.late = late;
        self
    }

    /// How many compiled constraints are kept for the requests to come.
    #[must_use]
    pub fn constraint_cache(mut self, limits: CacheLimits) -> Self {
        self.constraint_cache = limits;
        self
    }

    /// How much is taken on, and how often a failed stage is started again.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether pages of the cache are kept for other prompts that begin alike; they are, without
    /// this.
    #[must_use]
    pub fn share_prefixes(mut self, shares_prefixes: bool) -> Self {
        self.shares_prefixes = shares_prefixes;
        self
    }

    /// Whether a request begins only once there will be pages for all that running ones are
    /// expected to grow to; it does, without this. Otherwise more run at once, and some of them
    /// have to be computed again when pages run out.
    #[must_use]
    pub fn reckon_ahead(mut self, reckons_ahead: bool) -> Self {
        self.reckons_ahead = reckons_ahead;
        self
    }

    /// Writes down what every stage did when, for [`Engine::timeline`].
    #[must_use]
    pub fn record_timeline(mut self) -> Self {
        self.records_timeline = true;
        self
    }

    /// Writes down what the serving loop is told, as lines of JSON, so that [`replay`] finds the
    /// same actions.
    ///
    /// [`replay`]: crate::serve::replay
    #[must_use]
    pub fn record(mut self, out: impl Write + Send + 'static, options: RecordOptions) -> Self {
        self.record = Some((Box::new(out), options));
        self
    }

    /// Calls this in a stage's thread before it computes a microbatch, so that tests can let a
    /// stage panic or wait.
    #[must_use]
    pub fn before_forward(mut self, before_forward: BeforeForward) -> Self {
        self.before_forward = Some(before_forward);
        self
    }

    /// Calls this in a mask worker's thread before a sequence's matcher works, so that tests can
    /// let it take its time.
    #[must_use]
    pub fn before_matcher(mut self, before_matcher: BeforeMatcher) -> Self {
        self.masker.before_matcher = Some(before_matcher);
        self
    }

    /// Starts the stages, which load their weights at the same time, and the engine's threads.
    ///
    /// # Errors
    /// [`BuildError`]; every thread that had started has ended by then.
    pub fn build(self) -> Result<Engine, BuildError> {
        let Self { model, plan, transfers, threads_per_stage, masker, .. } = self;
        check_plan(&plan, &model.config, self.kv_type)?;
        let threads_per_stage = threads_per_stage.unwrap_or_else(|| default_threads(&plan));
        check_cores(&self.cores, plan.stages.len() * threads_per_stage.get())?;
        let vocab = Arc::new(vocabulary::of(&model.tokenizer, model.config.vocab)?);
        let constraints = Cache::new(Compiler::new(Arc::clone(&vocab))?, self.constraint_cache);
        let devices = Devices::open(plan.stages.iter().map(|stage| stage.device))?;
        let transfers = trusted(transfers.unwrap_or_else(|| plan.transfers()), &devices);
        let ledger = Ledger::default();
        let links = Links::new(&transfers, &devices, ledger.clone());
        let last_stage = Endpoint::Stage(plan.last_stage());
        let (_, tokens) = links.connect(last_stage, Endpoint::Host);
        let clock = Clock::start();
        let profile = model.profile(self.kv_type);
        let scheduler = SchedulerConfig {
            shares_prefixes: self.shares_prefixes,
            reckons_ahead: self.reckons_ahead,
            ..SchedulerConfig::new(&plan, &profile)
        };
        let max_depth = max_depth(&plan);
        let (pipeline, masks) = Pipeline::start(PipelineConfig {
            plan: plan.clone(),
            model: model.config.clone(),
            weights: model.weights.clone(),
            devices,
            links: links.clone(),
            clock,
            sampler: Sampler::new(vocab.allow_all().into()),
            threads_per_stage,
            cores: self.cores,
            kv_type: self.kv_type,
            channel_capacity: max_depth,
            before_forward: self.before_forward,
        })?;
        let outlet = MaskerOutlet {
            link: links.connect(Endpoint::Host, last_stage).0,
            ledger: ledger.clone(),
            clock,
            masks,
            events: pipeline.event_sender(),
            num_words: vocab.num_words(),
        };
        let serve = Serve::new(ServeConfig {
            scheduler,
            max_depth: Some(max_depth),
            bounds: bounds(&plan, &model.config),
            limits: self.limits,
            vocabulary: model.tokenizer.table().clone(),
        });
        let begin = |(out, options)| JournalWriter::begin(serve.config(), out, options);
        let journal = self.record.map(begin).transpose().map_err(BuildError::Journal)?;
        let driver = Driver {
            masker: Masker::start(outlet, &masker)?,
            pipeline,
            serve,
            tokens,
            ledger,
            recorder: self.records_timeline.then(|| Recorder::new(&plan, clock.now())),
            journal,
            shared: Arc::new(SharedState::default()),
            clock,
            callers: HashMap::new(),
            pending: VecDeque::new(),
            stage_failure: None,
            is_gone: false,
        };
        Engine::start(driver, model, plan, constraints)
    }
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What orders may index.
fn bounds(plan: &Plan, config: &ModelConfig) -> OrderBounds {
    OrderBounds {
        vocab: config.vocab,
        max_positions: config.max_positions,
        pages_per_group: plan.pages_per_group.clone(),
    }
}

/// A core for each thread, if any are given.
fn check_cores(cores: &[usize], wanted: usize) -> Result<(), BuildError> {
    let found = cores.len();
    if found != 0 && found != wanted {
        return Err(BuildError::Cores { wanted, found });
    }
    Ok(threads::check_cores(cores)?)
}

/// The plan is one of this model, and no stage takes more memory for its pages than was planned.
fn check_plan(plan: &Plan, config: &ModelConfig, kv_type: KvType) -> Result<(), BuildError> {
    let (wanted, found) = (config.num_layers, plan.num_layers);
    if wanted != found {
        return Err(BuildError::WrongPlan { wanted, found });
    }
    for (stage, planned) in plan.stages() {
        let pages = page_bytes(config, plan.layers(planned), kv_type);
        let bytes = pages.iter().zip(&plan.pages_per_group);
        let found = Bytes(bytes.map(|(page, num)| page.0.saturating_mul(*num as u64)).sum());
        if found > planned.kv_bytes {
            let planned = planned.kv_bytes;
            return Err(BuildError::KvType { stage, kv_type, planned, found });
        }
    }
    Ok(())
}

/// Microbatches in flight at most: enough to fill the pipeline twice.
fn max_depth(plan: &Plan) -> usize {
    plan.microbatches.max(2 * plan.stages.len() + 2)
}

fn default_threads(plan: &Plan) -> NonZero<usize> {
    if plan.stages.len() > 1 {
        return NonZero::<usize>::MIN;
    }
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}
