//! Runs the program with CUDA on an emulated machine, or without one on CPUs.

use std::{
    env,
    ffi::OsString,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Names the program, which was built with the feature `cuda`.
const PROGRAM: &str = "SLUICEGATE_CUDA_PROGRAM";
const LIBRARY: &str = "libsluicegate_emulation.so";
/// All that the program looks for: one file, so that there is one machine and not one a library.
const NAMES: [&str; 8] = [
    "libcuda.so.1",
    "libcudart.so.13",
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcurand.so.10",
    "libnvrtc.so.13",
    "libnvidia-ml.so.1",
    "libnccl.so.2",
];

/// A small model, and where it can run.
pub(crate) struct Rig {
    program: OsString,
    folder: TempDir,
}

/// What a run of the program came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Rig {
    /// None, with a line that says so, where the program is not named.
    pub(crate) fn new() -> Option<Self> {
        let Some(program) = env::var_os(PROGRAM) else {
            sluicegate_slow::skip(format_args!("needs {PROGRAM}, a program built with CUDA"));
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder can be made");
        let library = library();
        for name in NAMES {
            symlink(&library, folder.path().join(name)).expect("a link can be made");
        }
        Some(Self { program, folder })
    }

    /// A small llama with seeded weights of a type, as the path of its configuration.
    pub(crate) fn model(&self, number: &str, layers: usize) -> String {
        self.model_of(number, layers, 64)
    }

    /// The same, as wide as wanted.
    pub(crate) fn model_of(&self, number: &str, layers: usize, width: usize) -> String {
        let name = format!("{number}-{layers}-{width}");
        let path = self.folder.path().join(name).join("config.json");
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width,
            "intermediate_size": 176, "num_hidden_layers": layers, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 512,
            "rms_norm_eps": 1e-5, "rope_theta": 1e4, "tie_word_embeddings": false,
            "torch_dtype": number, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2
        });
        let parent = path.parent().expect("it has a folder");
        std::fs::create_dir_all(parent).expect("a folder can be made");
        std::fs::write(&path, config.to_string()).expect("a file can be written");
        path.to_str().expect("the path is text").to_owned()
    }

    /// Runs the program on a machine as `SLUICEGATE_EMULATED_GPUS` describes it.
    pub(crate) fn on(&self, machine: &str, arguments: &[&str]) -> Ran {
        self.run(machine, arguments, &mut Command::new(&self.program))
    }

    /// The same, where `CUDA_VISIBLE_DEVICES` is set.
    pub(crate) fn seeing(&self, visible: &str, machine: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.program);
        self.run(machine, arguments, command.env("CUDA_VISIBLE_DEVICES", visible))
    }

    fn run(&self, machine: &str, arguments: &[&str], command: &mut Command) -> Ran {
        if !command.get_envs().any(|(name, _)| name == "CUDA_VISIBLE_DEVICES") {
            command.env_remove("CUDA_VISIBLE_DEVICES");
        }
        command
            .args(arguments)
            .env("SLUICEGATE_EMULATED_GPUS", machine)
            .env("SLUICEGATE_CUDA_LIBS", self.folder.path())
            .env("RUST_BACKTRACE", "0")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        let output = command.output().expect("the program can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// A file that the program may read or write, of this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a run asked the driver and the devices for.
    #[track_caller]
    pub(crate) fn counts(&self, machine: &str, model: &str, more: &[&str]) -> Value {
        let file = self.file("counts.json");
        let machine = format!("{machine}, counts={}", file.display());
        self.generate(&machine, model, more).report();
        let text = std::fs::read_to_string(file).expect("the library has written its counts");
        serde_json::from_str(&text).expect("they are JSON")
    }

    /// Generates with a small model of seeded weights.
    pub(crate) fn generate(&self, machine: &str, model: &str, more: &[&str]) -> Ran {
        let mut arguments = vec!["generate", "--model", model, "--dummy-weights", "--json"];
        arguments.extend(more);
        self.on(machine, &arguments)
    }
}

impl Ran {
    /// What was printed as JSON.
    #[track_caller]
    pub(crate) fn report(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        // Also what is found when the program is ending, which it does not hear of.
        let is_told = |it: &str| it.contains("an injected fault") || it.contains(" was not made");
        let mut findings = self.stderr.lines().filter(|line| line.starts_with("emulated GPUs: "));
        assert_eq!(findings.find(|line| !is_told(line)), None);
        serde_json::from_str(&self.stdout).expect("it prints JSON")
    }
}

/// The texts of all outputs.
pub(crate) fn texts(report: &Value) -> Vec<&str> {
    let outputs = report["outputs"].as_array().expect("there are outputs");
    outputs.iter().map(|output| output["text"].as_str().expect("an output has a text")).collect()
}

/// Beside this test's executable, or in the folder above, as cargo puts it.
fn library() -> PathBuf {
    let executable = env::current_exe().expect("a process knows its executable");
    let found = executable.ancestors().skip(1).take(2).map(|folder| folder.join(LIBRARY));
    let found = found.into_iter().find(|path| Path::exists(path));
    found.unwrap_or_else(|| panic!("{LIBRARY} is not beside {}", executable.display()))
}
