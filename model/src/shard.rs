//! A run of units of one model on one device: weights, pages, and the forward pass.
//!
//! Knows no stages and moves nothing: its inputs must already be on its device.

use candle_core::Tensor;

use crate::{
    cap::capped,
    decoder::{Layers, Loader},
    embedding::Embedding,
    error::{ForwardError, LoadError},
    home::{Executor, Home},
    kv_pages::KvPages,
    linear::Linear,
    norm::RmsNorm,
    step::{Ancestors, Hidden, Logits, Step, TILE_TOKENS},
    weights::{Matrix, Weights},
};
use sluicegate_spec::{
    config::ModelConfig,
    family::Family,
    placed::{Placed, Site},
    tensors::{Role, TensorId},
    units::{Bytes, Unit, UnitRange},
};

/// Consecutive units of a model on one device.
pub struct Shard {
    first_unit: Unit,
    hidden_width: usize,
    num_groups: usize,
    embedding: Option<Embedding>,
    layers: Layers,
    head: Option<Head>,
    pages: KvPages,
    home: Home,
}

/// The final norm and the output head.
struct Head {
    norm: RmsNorm,
    matrix: Linear,
    /// Soft cap of the logits.
    cap: Option<f64>,
    /// Whether the weights are the embedding's, kept by a shard on the same device and not counted
    /// twice.
    shared: bool,
}

/// The output of a shard.
#[derive(Debug)]
pub enum ShardOutput {
    /// For the next shard: `[tokens, hidden]`.
    Hidden(Placed<Hidden>),
    /// Of the last shard: `[logit rows, vocab]`, f32; none if the step needs none.
    Logits(Option<Placed<Logits>>),
}

/// The memory of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardBytes {
    pub weights: Bytes,
    pub kv: Bytes,
}

impl Shard {
    /// Loads the weights of `units` and allocates `pages_per_group` KV pages in each of the model's
    /// KV groups. Reads no other unit's weights.
    ///
    /// # Errors
    /// The model lacks these units, a weight is missing or wrong, or there is not enough memory.
    pub fn load(
        weights: &Weights,
        config: &ModelConfig,
        units: UnitRange,
        home: Home,
        pages_per_group: &[usize],
    ) -> Result<Self, LoadError> {
        let num_units = config.num_layers + 2;
        if units.start >= units.end || units.end > num_units {
            return Err(LoadError::Units { units, num_units });
        }
        let loader =
            Loader { weights, config, family: Family::of(config.architecture), home: &home };
        let has_head = units.has_head(config.num_layers);
        let needs_table =
            units.has_embed() || (has_head && config.tied && loader.home.table.is_some());
        let table = needs_table.then(|| loader.table()).transpose()?;
        let head = has_head.then(|| loader.head(table.as_ref())).transpose()?;
        let embedding = table.filter(|_| units.has_embed()).map(|table| {
            let scale = loader.family.embedding_scale;
            Embedding::new(table, scale, config.hidden, home.executor.clone())
        });
        let range = units.layers(config.num_layers);
        Ok(Self {
            first_unit: units.first(config.num_layers),
            hidden_width: config.hidden,
            num_groups: config.kv_groups().len(),
            embedding,
            layers: Layers::load(&loader, range)?,
            head,
            pages: KvPages::new(config, range, pages_per_group, &home)?,
            home,
        })
    }

    /// Runs the shard's units on one step. `hidden` comes from the previous shard, if there is one.
    ///
    /// # Errors
    /// A value is on another device or does not fit the step, or an operation fails.
    pub fn forward(
        &mut self,
        step: Placed<&Step>,
        hidden: Option<Placed<Hidden>>,
    ) -> Result<ShardOutput, ForwardError> {
        let hidden = match (&self.embedding, hidden) {
            (Some(embedding), None) => self.embed(embedding, &step)?,
            (None, Some(hidden)) => self.receive(hidden, &step)?,
            (Some(_), Some(_)) => {
                return Err(ForwardError::UnwantedHidden { unit: self.first_unit });
            }
            (None, None) => return Err(ForwardError::NoHidden { unit: self.first_unit }),
        };
        let hidden = self.layers.forward(hidden, &step, self.pages.layers(), &self.home)?;
        let Some(head) = &self.head else {
            return Ok(ShardOutput::Hidden(Placed::new(Hidden(hidden), self.home.id)));
        };
        let step = step.at(&self.site("index_select", Unit::Head, "hidden"))?;
        let Some(logit_tokens) = &step.logit_tokens else { return Ok(ShardOutput::Logits(None)) };
        let logits = head
            .forward(&hidden, logit_tokens, &self.home.executor)
            .map_err(|source| ForwardError::Tensor { unit: Unit::Head, source })?;
        Ok(ShardOutput::Logits(Some(Placed::new(Logits(logits), self.home.id))))
    }

    /// Lets each row of the next step continue its ancestor.
    ///
    /// # Errors
    /// The ancestors are on another device, skip or repeat an epoch, or name pages out of range.
    pub fn reorder(&mut self, ancestors: &Placed<Ancestors>) -> Result<(), ForwardError> {
        self.pages.reorder(self.first_unit, ancestors)
    }

    /// Starts over: the contents of the pages are obsolete, and epochs count from the start.
    pub fn restart(&mut self) {
        self.pages.restart();
    }

    /// Returns what the shard's operations run on.
    pub fn executor(&self) -> &Executor {
        &self.home.executor
    }

    /// Returns the memory of the shard.
    pub fn bytes(&self) -> ShardBytes {
        let embedding = self.embedding.as_ref().map_or(0, |embedding| embedding.bytes().0);
        let head = self.head.as_ref().map_or(0, Head::bytes);
        let weights = Bytes(embedding + self.layers.bytes().0 + head);
        ShardBytes { weights, kv: self.pages.bytes() }
    }

    fn site(&self, operation: &'static str, unit: Unit, with: &'static str) -> Site {
        Site { operation, unit: Some(unit), with, device: self.home.id }
    }

    fn embed(&self, embedding: &Embedding, step: &Placed<&Step>) -> Result<Tensor, ForwardError> {
        let unit = Unit::Embed;
        let step = step.at(&self.site("index_select", unit, "embedding"))?;
        self.check(step)?;
        embedding.forward(&step.tokens).map_err(|source| ForwardError::Tensor { unit, source })
    }

    fn receive(
        &self,
        hidden: Placed<Hidden>,
        step: &Placed<&Step>,
    ) -> Result<Tensor, ForwardError> {
        let unit = self.first_unit;
        let Hidden(hidden) = hidden.take(&self.site("rms_norm", unit, "norm weight"))?;
        let (operation, with) = match unit {
            Unit::Head => ("index_select", "hidden"),
            _ => ("rope", "hidden"),
        };
        let step = step.at(&self.site(operation, unit, with))?;
        self.check(step)?;
        self.check_shape("hidden", &[step.tokens.elem_count(), self.hidden_width], hidden.dims())?;
        Ok(hidden)
    }

    /// Checks the indices that the units use.
    fn check(&self, step: &Step) -> Result<(), ForwardError> {
        let num_tokens = step.tokens.elem_count();
        self.check_shape("positions", &[num_tokens], step.positions.dims())?;
        self.check_shape("page tables", &[self.num_groups], &[step.tables.len()])?;
        for tables in &step.tables {
            self.check_shape("write slots", &[num_tokens], tables.write_slots.dims())?;
            let num_rows = step.rows.len();
            self.check_shape("first pages", &[num_rows + 1], tables.first_pages.dims())?;
            self.check_shape("first positions", &[num_rows], tables.first_positions.dims())?;
        }
        let num_tiles = step.rows.iter().map(|row| row.span.len().div_ceil(TILE_TOKENS)).sum();
        self.check_shape("tiles", &[num_tiles, 3], step.tiles.dims())?;
        let covered = step.rows.iter().map(|row| row.span.len()).sum();
        self.check_shape("rows", &[num_tokens], &[covered])
    }

    fn check_shape(
        &self,
        value: &'static str,
        wanted: &[usize],
        found: &[usize],
    ) -> Result<(), ForwardError> {
        if wanted == found {
            return Ok(());
        }
        Err(ForwardError::Shape {
            unit: self.first_unit,
            value,
            wanted: wanted.to_vec(),
            found: found.to_vec(),
        })
    }
}

impl Loader<'_> {
    fn table(&self) -> Result<Matrix, LoadError> {
        let load = || {
            let id = TensorId { unit: Unit::Embed, role: Role::Embedding };
            let shape = (self.config.vocab, self.config.hidden);
            Ok(self.weights.matrix(id, shape, &self.home.device)?)
        };
        self.home.table.as_ref().map_or_else(load, |shared| shared.get_or_load(load))
    }

    /// Loads norm and head. A tied head shares `table` if the shard has it.
    fn head(&self, table: Option<&Matrix>) -> Result<Head, LoadError> {
        let ModelConfig { vocab, hidden, .. } = *self.config;
        let shared = table.filter(|_| self.config.tied);
        let matrix = match shared {
            None => self.linear(Unit::Head, &[(Role::Head, vocab)], hidden, None)?,
            Some(table) => {
                Linear::new(vec![table.clone()], None, self.home.executor.threads.clone())
                    .map_err(|source| LoadError::Tensor { unit: Unit::Head, source })?
            }
        };
        let norm = self.norm(Unit::Head, Role::FinalNorm, hidden)?;
        Ok(Head { norm, matrix, cap: self.config.logit_cap, shared: shared.is_some() })
    }
}

impl Head {
    /// Computes the logits of the tokens in `logit_tokens` only.
    fn forward(
        &self,
        hidden: &Tensor,
        logit_tokens: &Tensor,
        executor: &Executor,
    ) -> candle_core::Result<Tensor> {
        let wanted = if hidden.device().is_cpu() {
            hidden.index_select(logit_tokens, 0)?
        } else {
            executor.kernels.select_rows(hidden, logit_tokens, 1.0)?
        };
        let normed = self.norm.forward(&wanted, self.matrix.input_type())?;
        let logits = self.matrix.forward(&normed)?;
        match self.cap {
            Some(cap) => capped(logits, cap),
            None => Ok(logits),
        }
    }

    fn bytes(&self) -> u64 {
        self.norm.bytes() + if self.shared { 0 } else { self.matrix.bytes().0 }
    }
}
