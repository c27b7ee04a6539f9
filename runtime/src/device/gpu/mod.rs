//! What NVML says of this machine's GPUs, and what follows from it.
//!
//! [`nvml`] alone calls the library; all else is computed from the plain [`facts`] that it returns:
//! which GPUs a CUDA program [sees](visible), and how they are [linked](topology). Nothing here
//! makes a context on a GPU, so asking costs no memory there.

pub mod facts;
#[cfg_attr(not(target_os = "linux"), path = "no_nvml.rs")]
pub mod nvml;
pub mod topology;
pub mod visible;
