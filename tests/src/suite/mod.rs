//! The suite that the planner is measured on, `fixtures/planner_suite.toml`: our plan of each case
//! against the rules of other systems, all costed by the planner's own model.

mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde::Deserialize;
use sluicegate_placement::{Baselined, Cluster, Policy, Solution, baselines, solve};
use sluicegate_spec::{
    device::DeviceId,
    profile::{ModelProfile, Target},
};

pub use report::{Part, Report, Summary};

/// The cases, in the order of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    pub cases: Vec<Case>,
}

/// A cluster, a model and a load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// Like devices and like links.
    #[serde(default)]
    pub is_homogeneous: bool,
    /// A file of `fixtures/configs/`, without its ending.
    pub model: String,
    #[serde(default)]
    pub policy: Policy,
    /// The cluster in one line.
    spec: Option<String>,
    /// A file of `examples/clusters/`.
    file: Option<String>,
    /// The text of such a file.
    toml: Option<String>,
}

/// What came out of a case.
#[derive(Debug)]
pub struct Outcome {
    pub case: Case,
    pub num_devices: usize,
    pub solution: Solution,
    /// How long the planner took.
    pub elapsed: Duration,
    pub peers: BTreeMap<&'static str, Baselined>,
}

impl Suite {
    /// Reads the suite of this repository, from the folder of this package.
    ///
    /// # Panics
    /// Where the file is not as it should be.
    pub fn read() -> Self {
        let path = Path::new("fixtures/planner_suite.toml");
        let text = fs::read_to_string(path).expect("the suite is a file of the repository");
        toml::from_str(&text).expect("the suite's file describes cases")
    }

    /// Plans every case.
    ///
    /// # Panics
    /// Where one has no plan: then it is none for the suite.
    pub fn run(self) -> Vec<Outcome> {
        self.cases.into_iter().map(Case::run).collect()
    }
}

impl Case {
    fn run(self) -> Outcome {
        let cluster = self.cluster();
        let profile = self.profile(&cluster);
        let began = Instant::now();
        let solution = solve(&profile, &cluster, &self.policy)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let elapsed = began.elapsed();
        let peers = baselines(&profile, &cluster, &self.policy, &solution);
        Outcome { num_devices: cluster.devices.len(), case: self, solution, elapsed, peers }
    }

    fn cluster(&self) -> Cluster {
        let cluster = match (&self.spec, &self.file, &self.toml) {
            (Some(spec), None, None) => Cluster::parse_spec(spec),
            (None, Some(file), None) => {
                let text = fs::read_to_string(Path::new("../examples/clusters").join(file))
                    .unwrap_or_else(|error| panic!("{}: {file}: {error}", self.name));
                Cluster::parse_toml(&text, file)
            }
            (None, None, Some(text)) => Cluster::parse_toml(text, &self.name),
            _ => panic!("{}: wanted one of spec, file and toml", self.name),
        };
        cluster.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn profile(&self, cluster: &Cluster) -> ModelProfile {
        let path = format!("fixtures/configs/{}.json", self.model);
        let is_cpu = cluster.devices.iter().all(|it| matches!(it.id, DeviceId::Cpu(_)));
        let target = if is_cpu { Target::CPU } else { Target::ACCELERATOR };
        ModelProfile::read(Path::new(&path), target)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

impl Outcome {
    /// How many times as long a rule's placement takes for a token as ours; none where the rule
    /// gives none that fits.
    pub fn ratio(&self, peer: &Baselined) -> Option<f64> {
        let seconds = peer.objective_value.filter(|_| peer.feasible)?;
        Some(seconds / self.solution.prediction.objective_value)
    }

    /// Whether a rule's placement gives something to every device.
    pub fn uses_all(&self, peer: &Baselined) -> bool {
        let used: BTreeSet<DeviceId> = peer.stages.iter().map(|(device, _)| *device).collect();
        used.len() == self.num_devices
    }

    /// The ratio of the best rule among those that `counts`.
    pub fn best(&self, counts: impl Fn(&Baselined) -> bool) -> Option<f64> {
        let counted = self.peers.values().filter(|peer| counts(peer));
        counted.filter_map(|peer| self.ratio(peer)).reduce(f64::min)
    }
}
