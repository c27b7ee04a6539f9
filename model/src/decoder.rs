//! The decoder's layers: one forward pass for all families.
//!
//! A layer is assembled once, from the family's data; the pass itself has no branch on the family.

use candle_core::Tensor;

use crate::{
    attention::{Heads, NewHeads},
    error::{ForwardError, LoadError},
    home::Home,
    kv_pages::LayerPages,
    linear::Linear,
    mlp::Mlp,
    norm::{RmsNorm, normed},
    rope::{Angles, Rotary},
    step::Step,
    weights::Weights,
};
use sluicegate_spec::{
    config::ModelConfig,
    family::{Family, HeadNorm, LayerNorms, QkvBias},
    placed::{Placed, Site},
    tensors::{Role, TensorId},
    units::{Bytes, LayerRange, Unit},
};

/// The sources from which a unit is loaded.
pub(crate) struct Loader<'a> {
    pub(crate) weights: &'a Weights,
    pub(crate) config: &'a ModelConfig,
    pub(crate) family: &'static Family,
    pub(crate) home: &'a Home,
}

impl Loader<'_> {
    /// Loads a norm over groups of `width`.
    pub(crate) fn norm(&self, unit: Unit, role: Role, width: usize) -> Result<RmsNorm, LoadError> {
        let id = TensorId { unit, role };
        let weight = self.weights.dense(id, &[width], &self.home.device)?;
        Ok(RmsNorm::new(weight, self.config.norm_eps, self.home.executor.clone()))
    }

    /// Loads matrices `[rows, width]` that share an input.
    pub(crate) fn linear(
        &self,
        unit: Unit,
        matrices: &[(Role, usize)],
        width: usize,
        bias: Option<Tensor>,
    ) -> Result<Linear, LoadError> {
        let load = |(role, rows): &(Role, usize)| {
            let id = TensorId { unit, role: *role };
            self.weights.matrix(id, (*rows, width), &self.home.device)
        };
        let matrices = matrices.iter().map(load).collect::<Result<_, _>>()?;
        Linear::new(matrices, bias, self.home.executor.threads.clone())
            .map_err(|source| LoadError::Tensor { unit, source })
    }

    /// Loads the biases of queries, keys and values as one vector.
    fn qkv_bias(&self, unit: Unit, rows: &[(Role, usize)]) -> Result<Tensor, LoadError> {
        let load = |(role, rows): &(Role, usize)| {
            let id = TensorId { unit, role: *role };
            self.weights.dense(id, &[*rows], &self.home.device)
        };
        let parts: Vec<Tensor> = rows.iter().map(load).collect::<Result<_, _>>()?;
        Tensor::cat(&parts, 0).map_err(|source| LoadError::Tensor { unit, source })
    }
}

/// A run of layers with their rotary embeddings.
pub(crate) struct Layers {
    layers: Vec<Layer>,
    rotary: Rotary,
    local_rotary: Option<Rotary>,
}

/// The rotation angles of a step's positions.
struct StepAngles {
    full: Angles,
    local: Option<Angles>,
}

struct Layer {
    unit: Unit,
    input_norm: RmsNorm,
    qkv: Linear,
    query_norm: Option<RmsNorm>,
    key_norm: Option<RmsNorm>,
    heads: Heads,
    output: Linear,
    post_attention_norm: Option<RmsNorm>,
    mlp_norm: RmsNorm,
    mlp: Mlp,
    post_mlp_norm: Option<RmsNorm>,
}

impl Layers {
    /// Loads the layers of a range, and nothing else.
    pub(crate) fn load(loader: &Loader<'_>, range: LayerRange) -> Result<Self, LoadError> {
        let layers = range
            .iter()
            .map(|layer_idx| Layer::load(loader, layer_idx))
            .collect::<Result<_, _>>()?;
        let unit = Unit::Layer(range.start);
        let rotary = |rope| {
            let Home { device, executor, .. } = loader.home;
            Rotary::new(rope, loader.config.head_dim, device, executor.clone())
                .map_err(|source| LoadError::Tensor { unit, source })
        };
        Ok(Self {
            layers,
            rotary: rotary(&loader.config.rope)?,
            local_rotary: loader.config.local_rope.as_ref().map(rotary).transpose()?,
        })
    }

    /// Runs all layers on `[tokens, hidden]`.
    pub(crate) fn forward(
        &self,
        mut hidden: Tensor,
        step: &Placed<&Step>,
        pages: &[LayerPages],
        home: &Home,
    ) -> Result<Tensor, ForwardError> {
        let mut angles = None;
        for (layer, pages) in self.layers.iter().zip(pages) {
            let unit = layer.unit;
            let failed = |source| ForwardError::Tensor { unit, source };
            let site =
                |operation, with| Site { operation, unit: Some(unit), with, device: home.id };
            let positions = &step.at(&site("rope", "hidden"))?.positions;
            let angles = match &angles {
                Some(angles) => angles,
                None => angles.insert(self.angles(positions).map_err(failed)?),
            };
            let step = step.at(&site("index_select", "kv pages"))?;
            hidden = layer.forward(hidden, angles, step, (pages, home)).map_err(failed)?;
        }
        Ok(hidden)
    }

    fn angles(&self, positions: &Tensor) -> candle_core::Result<StepAngles> {
        let local = self.local_rotary.as_ref().map(|rotary| rotary.angles(positions));
        Ok(StepAngles { full: self.rotary.angles(positions)?, local: local.transpose()? })
    }

    /// Returns the bytes of the weights.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes(self.layers.iter().map(Layer::bytes).sum())
    }
}

impl Layer {
    fn load(loader: &Loader<'_>, layer_idx: usize) -> Result<Self, LoadError> {
        let unit = Unit::Layer(layer_idx);
        let ModelConfig { hidden, intermediate, head_dim, .. } = *loader.config;
        let heads = Heads {
            num_heads: loader.config.num_heads,
            num_kv_heads: loader.config.num_kv_heads,
            head_dim,
            scale: loader.config.attention_scale,
            cap: loader.config.score_cap,
            window: loader.config.windows.get(layer_idx).copied().flatten(),
        };
        let (query_rows, kv_rows) = (heads.num_heads * head_dim, heads.num_kv_heads * head_dim);
        let bias = match loader.family.qkv_bias {
            QkvBias::Absent => None,
            QkvBias::Present => Some(loader.qkv_bias(
                unit,
                &[
                    (Role::QueryBias, query_rows),
                    (Role::KeyBias, kv_rows),
                    (Role::ValueBias, kv_rows),
                ],
            )?),
        };
        let qkv = [(Role::Query, query_rows), (Role::Key, kv_rows), (Role::Value, kv_rows)];
        let head_norm = |role| match loader.family.head_norm {
            HeadNorm::Absent => Ok(None),
            HeadNorm::Present => loader.norm(unit, role, head_dim).map(Some),
        };
        let post_norm = |role| match loader.family.layer_norms {
            LayerNorms::Before => Ok(None),
            LayerNorms::BeforeAndAfter => loader.norm(unit, role, hidden).map(Some),
        };
        let gate_and_up = [(Role::Gate, intermediate), (Role::Up, intermediate)];
        Ok(Self {
            unit,
            input_norm: loader.norm(unit, Role::InputNorm, hidden)?,
            qkv: loader.linear(unit, &qkv, hidden, bias)?,
            query_norm: head_norm(Role::QueryNorm)?,
            key_norm: head_norm(Role::KeyNorm)?,
            heads,
            output: loader.linear(unit, &[(Role::Output, hidden)], query_rows, None)?,
            post_attention_norm: post_norm(Role::PostAttentionNorm)?,
            mlp_norm: loader.norm(unit, Role::MlpNorm, hidden)?,
            mlp: Mlp::new(
                loader.linear(unit, &gate_and_up, hidden, None)?,
                loader.linear(unit, &[(Role::Down, hidden)], intermediate, None)?,
                loader.family.activation,
                loader.home.executor.clone(),
            ),
            post_mlp_norm: post_norm(Role::PostMlpNorm)?,
        })
    }

    /// Maps `[tokens, hidden]` to the same shape, and writes the step's keys and values.
    ///
    /// Tensors are dropped as soon as they are not needed: the peak determines the memory that a
    /// stage must have free ([`sluicegate_spec::profile::Workspace`]).
    fn forward(
        &self,
        hidden: Tensor,
        angles: &StepAngles,
        step: &Step,
        (pages, home): (&LayerPages, &Home),
    ) -> candle_core::Result<Tensor> {
        let queries = self.queries(&hidden, angles, step, (pages, home))?;
        let attended = self.heads.attend(&queries, step, pages, &home.executor)?;
        drop(queries);
        let output = self.output.forward(&attended)?;
        drop(attended);
        let output = normed(self.post_attention_norm.as_ref(), output)?;
        let (hidden, input) = self.mlp_norm.forward_sum(hidden, output, self.mlp.input_type())?;
        hidden + normed(self.post_mlp_norm.as_ref(), self.mlp.forward(input)?)?
    }

    /// Returns the rotated queries, `[tokens, heads * head_dim]`. Keys and values go to the pages.
    fn queries(
        &self,
        hidden: &Tensor,
        angles: &StepAngles,
        step: &Step,
        (pages, home): (&LayerPages, &Home),
    ) -> candle_core::Result<Tensor> {
        let normed = self.input_norm.forward(hidden, self.qkv.input_type())?;
        let qkv = self.qkv.forward(&normed)?;
        drop(normed);
        let new = NewHeads {
            heads: &self.heads,
            query_norm: self.query_norm.as_ref(),
            key_norm: self.key_norm.as_ref(),
            angles: match (&angles.local, self.heads.window) {
                (Some(local), Some(_)) => local,
                _ => &angles.full,
            },
            write_slots: &step.tables[pages.group_idx].write_slots,
        };
        new.place(&qkv, pages, &home.executor)
    }

    fn bytes(&self) -> u64 {
        let norms = [Some(&self.input_norm), Some(&self.mlp_norm)].into_iter().chain([
            self.query_norm.as_ref(),
            self.key_norm.as_ref(),
            self.post_attention_norm.as_ref(),
            self.post_mlp_norm.as_ref(),
        ]);
        let norms: u64 = norms.flatten().map(RmsNorm::bytes).sum();
        norms + self.qkv.bytes().0 + self.output.bytes().0 + self.mlp.bytes().0
    }
}
