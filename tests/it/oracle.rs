//! Our logits against those of candle's own models, and of transformers, on the same weights.

mod candle;
mod compare;
mod dequantized;
mod gemma3;
mod phi3;
mod products;
mod quantized;
mod safetensors;
mod shards;
mod smollm2;
mod transformers;
