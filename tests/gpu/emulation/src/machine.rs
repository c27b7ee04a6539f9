//! The machine that is emulated, as a line of text describes it.

use std::path::PathBuf;

use sluicegate_spec::units::Bytes;

use crate::mistakes::Mistake;

/// The variable that describes the machine.
pub const VARIABLE: &str = "SLUICEGATE_EMULATED_GPUS";

/// What a context takes of a device's memory, unless the description says otherwise.
const CONTEXT_BYTES: u64 = 4 << 20;
const CAPABILITY: (u32, u32) = (8, 0);
const MAX_DEVICES: usize = 64;

/// All devices of a machine, and how they behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub devices: Vec<Model>,
    /// Whether each device can reach the memory of all others.
    pub has_peers: bool,
    /// What a context takes of each device's memory.
    pub context_bytes: u64,
    /// Whether memory that was never written can be read: as poison, and not as a fault.
    pub reads_unwritten: bool,
    /// Whether what is copied from one device to another arrives with an error.
    pub garbles_links: bool,
    /// Decides in which of the allowed orders work is done.
    pub seed: u64,
    pub faults: Vec<Fault>,
    pub mistakes: Vec<Mistake>,
    /// The file that says at the process's end what was asked for.
    pub counts: Option<PathBuf>,
}

/// Something that goes wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// At which allocation of the process, which piece of work, or which send or receive, counted from
    /// one.
    pub at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// An allocation finds no memory.
    OutOfMemory,
    /// Memory had an error that could not be corrected.
    Ecc,
    /// The device has fallen off the bus.
    Lost,
    /// A rank of NCCL fails with a send or receive, and tells nobody who does not ask.
    Nccl,
    /// What is sent and received with a send or receive arrives changed.
    NcclGarbage,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    pub memory_bytes: u64,
    /// Major and minor compute capability.
    pub capability: (u32, u32),
}

impl Model {
    pub(crate) fn name(self) -> String {
        let (major, minor) = self.capability;
        format!("Emulated GPU {major}.{minor}")
    }

    /// Shared memory that a block may have, if its kernel asks for it.
    ///
    /// Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
    pub(crate) fn max_shared_bytes(self) -> usize {
        let kib = match self.capability {
            (8, 0 | 7) => 163,
            (8 | 12, _) => 99,
            (9..=11, _) => 227,
            _ => 64,
        };
        kib << 10
    }
}

/// A description that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{part}`: wanted devices and options, such as `2x 256MiB sm_80 + 512MiB sm_90, peer, seed=7, \
     context=8MiB, unwritten, garbage, fault=oom@9, fault=ecc@99, fault=lost@99, fault=nccl@9, \
     fault=nccl-garbage@9, mistake=early-free@40, counts=counts.json`"
)]
pub struct MachineError {
    part: String,
}

impl Machine {
    /// Reads a description: groups of devices joined by `+`, then options behind commas.
    ///
    /// # Errors
    /// [`MachineError`] with the part that is none of these.
    pub fn parse(text: &str) -> Result<Self, MachineError> {
        let mut parts = text.split(',').map(str::trim);
        let mut devices = Vec::new();
        for group in parts.next().unwrap_or_default().split('+') {
            devices.extend(group_of(group).ok_or_else(|| wrong(group))?);
        }
        if devices.len() > MAX_DEVICES {
            return Err(wrong(text));
        }
        let mut machine = Self {
            devices,
            has_peers: false,
            context_bytes: CONTEXT_BYTES,
            reads_unwritten: false,
            garbles_links: false,
            seed: 0,
            faults: Vec::new(),
            mistakes: Vec::new(),
            counts: None,
        };
        for option in parts {
            machine.set(option).ok_or_else(|| wrong(option))?;
        }
        Ok(machine)
    }

    fn set(&mut self, option: &str) -> Option<()> {
        match option.split_once('=') {
            None if option == "peer" => self.has_peers = true,
            None if option == "unwritten" => self.reads_unwritten = true,
            None if option == "garbage" => self.garbles_links = true,
            Some(("seed", seed)) => self.seed = seed.parse().ok()?,
            Some(("context", size)) => self.context_bytes = bytes(size)?,
            Some(("fault", fault)) => self.faults.push(fault_of(fault)?),
            Some(("mistake", mistake)) => self.mistakes.push(Mistake::parse(mistake)?),
            Some(("counts", file)) if !file.is_empty() => self.counts = Some(file.into()),
            _ => return None,
        }
        Some(())
    }
}

/// Devices of one kind: `2x 256MiB sm_80`, the number and the capability being optional.
fn group_of(text: &str) -> Option<Vec<Model>> {
    let text = text.trim();
    let counted = text.split_once('x').and_then(|(count, rest)| Some((count.parse().ok()?, rest)));
    let (count, rest): (usize, &str) = counted.unwrap_or((1, text));
    let (size, capability) = match rest.split_once("sm_") {
        Some((size, digits)) => (size, capability(digits)?),
        None => (rest, CAPABILITY),
    };
    let model = Model { memory_bytes: bytes(size)?, capability };
    (1..=MAX_DEVICES).contains(&count).then(|| vec![model; count])
}

/// `86` is 8.6, and `120` is 12.0.
fn capability(digits: &str) -> Option<(u32, u32)> {
    let number: u32 = digits.trim().parse().ok()?;
    (number >= 10).then_some((number / 10, number % 10))
}

/// `oom@7`, `ecc@100`, `lost@100`, `nccl@9` or `nccl-garbage@9`.
fn fault_of(text: &str) -> Option<Fault> {
    let (kind, at) = text.split_once('@')?;
    let kind = match kind {
        "oom" => FaultKind::OutOfMemory,
        "ecc" => FaultKind::Ecc,
        "lost" => FaultKind::Lost,
        "nccl" => FaultKind::Nccl,
        "nccl-garbage" => FaultKind::NcclGarbage,
        _ => return None,
    };
    Some(Fault { kind, at: at.parse().ok()? })
}

fn bytes(text: &str) -> Option<u64> {
    let Bytes(bytes) = text.trim().parse().ok()?;
    (bytes > 0).then_some(bytes)
}

fn wrong(part: &str) -> MachineError {
    MachineError { part: part.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read() {
        #[track_caller]
        fn check(text: &str, devices: &[(u64, (u32, u32))], options: (bool, u64, u64)) {
            let machine = Machine::parse(text).unwrap();
            let found: Vec<_> =
                machine.devices.iter().map(|it| (it.memory_bytes >> 20, it.capability)).collect();
            assert_eq!(found, devices);
            let Machine { has_peers, context_bytes, seed, .. } = machine;
            assert_eq!((has_peers, context_bytes >> 20, seed), options);
        }
        check("256MiB", &[(256, (8, 0))], (false, 4, 0));
        check("2x256MiB", &[(256, (8, 0)); 2], (false, 4, 0));
        check("2x 1GiB sm_90, peer, seed=7", &[(1024, (9, 0)); 2], (true, 4, 7));
        check(
            "2x 8MiB sm_86 + 16MiB sm_120, context=1MiB",
            &[(8, (8, 6)), (8, (8, 6)), (16, (12, 0))],
            (false, 1, 0),
        );
    }

    #[test]
    fn faults_are_read() {
        let machine = Machine::parse(
            "1MiB, fault=oom@7, fault=ecc@100, fault=lost@3, fault=nccl@2, fault=nccl-garbage@5",
        );
        let machine = machine.unwrap();
        let found: Vec<_> = machine.faults.iter().map(|it| (it.kind, it.at)).collect();
        let mut want = vec![(FaultKind::OutOfMemory, 7), (FaultKind::Ecc, 100)];
        want.extend([(FaultKind::Lost, 3), (FaultKind::Nccl, 2), (FaultKind::NcclGarbage, 5)]);
        assert_eq!(found, want);
    }

    #[test]
    fn mistakes_are_read() {
        let machine = Machine::parse("1MiB, mistake=early-free@40, mistake=no-context@2").unwrap();
        let found: Vec<String> = machine.mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["mistake=early-free@40", "mistake=no-context@2"]);
    }

    #[test]
    fn a_file_of_counts_is_read() {
        let machine = Machine::parse("1MiB, counts=a b/c.json, peer").unwrap();
        assert_eq!(machine.counts, Some("a b/c.json".into()));
        assert!(machine.has_peers);
    }

    #[test]
    fn what_is_no_description_is_named() {
        #[track_caller]
        fn check(text: &str, part: &str) {
            let error = Machine::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{part}`: wanted")), "{error}");
        }
        check("", "");
        check("0x256MiB", "0x256MiB");
        check("0MiB", "0MiB");
        check("256MiB sm_x", "256MiB sm_x");
        check("256MiB, peers", "peers");
        check("256MiB, seed=x", "seed=x");
        check("256MiB, fault=oom", "fault=oom");
        check("256MiB, mistake=early@1", "mistake=early@1");
        check("256MiB, mistake=early-free@0", "mistake=early-free@0");
        check("256MiB, counts=", "counts=");
        check("100x 1MiB", "100x 1MiB");
    }
}
