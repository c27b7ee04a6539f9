//! Computes the costs of each unit from a decoder's outline and its stored sizes.

use super::{
    ComputeType, Experts, ModelProfile, UnitKv, UnitProfile, Workspace,
    headers::{UnitBytes, UnitSizes},
    outline::{FeedForward, LayerOutline, Matrix, Outline, Purpose},
    packing::WeightFormat,
    peak::{Peak, Stored},
    product,
};
use crate::{
    config::KvGroup,
    tensors::TensorId,
    units::{Bytes, Unit},
};

/// Bytes of an element of a norm or bias, which are kept as f32.
pub(super) const VECTOR_BYTES: u64 = 4;

/// Element sizes, and the type of the computation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements {
    /// For weights whose stored size is unknown.
    pub(super) weights: WeightFormat,
    pub(super) hidden: usize,
    pub(super) kv: usize,
    pub(super) compute: ComputeType,
}

/// The known stored sizes.
#[derive(Clone, Copy)]
pub(super) enum StoredSizes<'a> {
    /// Of each matrix separately.
    Tensors(&'a dyn Fn(TensorId) -> Option<Bytes>),
    /// Of all tensors of a unit together.
    Units(&'a UnitSizes),
}

/// A model's outline and the sizes of its parts.
pub(super) struct Costing<'a> {
    outline: &'a Outline,
    stored: StoredSizes<'a>,
    elements: Elements,
    kv_groups: Vec<KvGroup>,
}

impl<'a> Costing<'a> {
    pub(super) fn new(outline: &'a Outline, stored: StoredSizes<'a>, elements: Elements) -> Self {
        let kv_groups = KvGroup::all(outline.layers.iter().map(|it| KvGroup::of(it.window)));
        Self { outline, stored, elements, kv_groups }
    }

    pub(super) fn profile(&self) -> ModelProfile {
        let outline = self.outline;
        let mut units = vec![self.embed()];
        let layers = outline.layers.iter().enumerate();
        units.extend(layers.map(|(layer_idx, layer)| self.layer(layer_idx, layer)));
        units.push(self.head());
        let tied_embedding_bytes = if outline.tied { units[0].weight_bytes } else { Bytes(0) };
        ModelProfile {
            num_layers: outline.layers.len(),
            units,
            tied_embedding_bytes,
            hidden: size(outline.hidden),
            hidden_element_bytes: self.elements.hidden,
            kv_element_bytes: self.elements.kv,
            vocab: size(outline.vocab),
            max_positions: outline.max_positions,
            compute: self.elements.compute,
            kv_groups: self.kv_groups.clone(),
        }
    }

    fn embed(&self) -> UnitProfile {
        let unit = Unit::Embed;
        let weight_bytes = self.held(unit, 0, &[self.outline.embedding()]);
        UnitProfile {
            // A token looks up one row.
            read_bytes: Bytes(weight_bytes.0 / self.outline.vocab.max(1)),
            workspace: self.peak().embed(),
            ..bare(unit, weight_bytes)
        }
    }

    fn layer(&self, layer_idx: usize, layer: &LayerOutline) -> UnitProfile {
        let unit = Unit::Layer(layer_idx);
        let outline = self.outline;
        let matrices = outline.matrices(layer);
        let shared = self.held(unit, outline.vector_elements(), &matrices);
        let experts = self.experts(unit, layer);
        let expert_bytes = experts.map_or(0, |it| product(&[it.num_experts, it.bytes_each.0]));
        let weights = matrices.iter().fold(0, |sum: u64, it| sum.saturating_add(it.num_weights()));
        let vector_bytes = product(&[outline.vector_elements(), VECTOR_BYTES]);
        let stored = match shared.0.checked_sub(vector_bytes) {
            Some(bytes) if bytes == weights.saturating_mul(2) => Stored::Half,
            _ => Stored::Other,
        };
        let active = weights.saturating_add(self.active_expert_weights(layer));
        let (queries, keys) = (outline.query_width(), outline.kv_width());
        let group = KvGroup::of(layer.window);
        UnitProfile {
            read_bytes: shared,
            experts,
            kv: Some(UnitKv {
                group_idx: self.kv_groups.iter().position(|other| *other == group).unwrap_or(0),
                bytes_per_token: Bytes(product(&[2, keys, self.elements.kv as u64])),
            }),
            flops_per_token: active.saturating_mul(2),
            // A product with the key and one with the value.
            flops_per_position: queries.saturating_mul(4),
            workspace: self.peak().layer(layer, stored),
            ..bare(unit, Bytes(shared.0.saturating_add(expert_bytes)))
        }
    }

    fn head(&self) -> UnitProfile {
        let outline = self.outline;
        let unit = Unit::Head;
        let head = outline.head();
        let (weight_bytes, read_bytes) = if outline.tied {
            let own = self.held(unit, outline.hidden, &[]);
            let embedding = self.held(Unit::Embed, 0, &[outline.embedding()]);
            (own, Bytes(own.0.saturating_add(embedding.0)))
        } else {
            let own = self.held(unit, outline.hidden, &[head]);
            (own, own)
        };
        UnitProfile {
            read_bytes,
            flops_per_token: product(&[2, head.num_weights()]),
            workspace: self.peak().head(),
            ..bare(unit, weight_bytes)
        }
    }

    /// Returns the bytes of a unit's vectors and of the matrices that every token uses.
    fn held(&self, unit: Unit, vector_elements: u64, matrices: &[Matrix]) -> Bytes {
        if let Some(sizes) = self.of_header(unit) {
            return sizes.shared;
        }
        let vectors = product(&[vector_elements, VECTOR_BYTES]);
        let bytes = matrices.iter().map(|matrix| self.matrix(unit, matrix));
        Bytes(bytes.fold(vectors, u64::saturating_add))
    }

    fn matrix(&self, unit: Unit, matrix: &Matrix) -> u64 {
        let by_shape =
            || self.elements.weights.bytes(matrix.purpose, matrix.num_rows, matrix.width);
        match (self.stored, matrix.purpose) {
            (StoredSizes::Tensors(stored), Purpose::Role(role)) => {
                stored(TensorId { unit, role }).map_or_else(by_shape, |bytes| bytes.0)
            }
            _ => by_shape(),
        }
    }

    fn experts(&self, unit: Unit, layer: &LayerOutline) -> Option<Experts> {
        let FeedForward::Mixture(mixture) = layer.feed_forward else { return None };
        let by_shape = || {
            let num_rows = product(&[3, mixture.intermediate]);
            self.elements.weights.bytes(Purpose::SharedExpert, num_rows, self.outline.hidden)
        };
        let bytes_each = match self.of_header(unit) {
            Some(sizes) => sizes.experts.0.div_ceil(mixture.num_experts.max(1)),
            None => by_shape(),
        };
        Some(Experts {
            num_experts: mixture.num_experts,
            num_active: mixture.num_active,
            bytes_each: Bytes(bytes_each),
        })
    }

    /// Returns the number of weights in the experts that one token uses.
    fn active_expert_weights(&self, layer: &LayerOutline) -> u64 {
        match layer.feed_forward {
            FeedForward::Dense { .. } => 0,
            FeedForward::Mixture(mixture) => {
                product(&[mixture.num_active, mixture.expert_weights(self.outline.hidden)])
            }
        }
    }

    fn of_header(&self, unit: Unit) -> Option<UnitBytes> {
        match self.stored {
            StoredSizes::Tensors(_) => None,
            StoredSizes::Units(sizes) => sizes.get(unit),
        }
    }

    fn peak(&self) -> Peak<'_> {
        let num_kv_groups = self.kv_groups.len();
        Peak { outline: self.outline, elements: self.elements, num_kv_groups }
    }
}

/// Makes a unit that holds weights and computes nothing.
fn bare(unit: Unit, weight_bytes: Bytes) -> UnitProfile {
    UnitProfile {
        unit,
        weight_bytes,
        read_bytes: weight_bytes,
        experts: None,
        kv: None,
        flops_per_token: 0,
        flops_per_position: 0,
        workspace: Workspace::default(),
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
