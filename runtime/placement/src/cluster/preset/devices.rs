//! The table of devices. Peaks are dense, not sparse, from the datasheets and whitepapers named.
//!
//! Memory is the total that the driver reports. It is less than the chips hold where error
//! correction takes some.

use super::{DevicePreset, Gpu, Hardware, Rates};

pub(super) const DEVICES: &[DevicePreset] = &[
    // A few cores of a current processor, as `ClusterDevice::cpu`.
    DevicePreset { name: "cpu", aliases: &[], hardware: Hardware::Cpu },
    // NVIDIA V100 datasheet, SXM2. Volta has no bf16, so it falls back to the rate of f32.
    DevicePreset {
        name: "v100-16",
        aliases: &["v100", "v100sxm216gb", "v10016gb"],
        hardware: Hardware::Gpu(Gpu {
            label: "V100 16GB",
            memory_mib: 16_160,
            gbytes_per_s: 900.0,
            tflops: Rates { f32: 15.7, f16: 125.0, bf16: 15.7 },
            pcie: "pcie3",
            nvlink: Some("nvlink2"),
        }),
    },
    // NVIDIA V100 datasheet, SXM2. No bf16, as above.
    DevicePreset {
        name: "v100-32",
        aliases: &["v100sxm232gb", "v10032gb", "v100sxm332gb"],
        hardware: Hardware::Gpu(Gpu {
            label: "V100 32GB",
            memory_mib: 32_510,
            gbytes_per_s: 900.0,
            tflops: Rates { f32: 15.7, f16: 125.0, bf16: 15.7 },
            pcie: "pcie3",
            nvlink: Some("nvlink2"),
        }),
    },
    // NVIDIA T4 datasheet. Turing has no bf16, so it falls back to the rate of f32.
    DevicePreset {
        name: "t4",
        aliases: &[],
        hardware: Hardware::Gpu(Gpu {
            label: "T4",
            memory_mib: 15_360,
            gbytes_per_s: 300.0,
            tflops: Rates { f32: 8.1, f16: 65.0, bf16: 8.1 },
            pcie: "pcie3",
            nvlink: None,
        }),
    },
    // NVIDIA A100 datasheet (40 GB); 312 is dense.
    DevicePreset {
        name: "a100-40",
        aliases: &["a10040gb", "a100sxm440gb", "a100pcie40gb"],
        hardware: Hardware::Gpu(Gpu {
            label: "A100 40GB",
            memory_mib: 40_960,
            gbytes_per_s: 1_555.0,
            tflops: Rates { f32: 19.5, f16: 312.0, bf16: 312.0 },
            pcie: "pcie4",
            nvlink: Some("nvlink3"),
        }),
    },
    // NVIDIA A100 datasheet (80 GB SXM; the PCIe card has 1,935 GB/s); 312 is dense.
    DevicePreset {
        name: "a100-80",
        aliases: &["a100", "a100sxm", "a10080gb", "a100sxm480gb", "a10080gbpcie", "a100pcie80gb"],
        hardware: Hardware::Gpu(Gpu {
            label: "A100 80GB",
            memory_mib: 81_920,
            gbytes_per_s: 2_039.0,
            tflops: Rates { f32: 19.5, f16: 312.0, bf16: 312.0 },
            pcie: "pcie4",
            nvlink: Some("nvlink3"),
        }),
    },
    // NVIDIA H100 datasheet, SXM; 1,979 with sparsity.
    DevicePreset {
        name: "h100",
        aliases: &["h100sxm", "h100sxm5", "h10080gb", "h10080gbhbm3"],
        hardware: Hardware::Gpu(Gpu {
            label: "H100 SXM",
            memory_mib: 81_559,
            gbytes_per_s: 3_350.0,
            tflops: Rates { f32: 67.0, f16: 989.5, bf16: 989.5 },
            pcie: "pcie5",
            nvlink: Some("nvlink4"),
        }),
    },
    // NVIDIA H100 PCIe datasheet; 1,513 with sparsity.
    DevicePreset {
        name: "h100-pcie",
        aliases: &["h10080gbpcie"],
        hardware: Hardware::Gpu(Gpu {
            label: "H100 PCIe",
            memory_mib: 81_559,
            gbytes_per_s: 2_000.0,
            tflops: Rates { f32: 51.0, f16: 756.5, bf16: 756.5 },
            pcie: "pcie5",
            nvlink: Some("nvlink4-bridge"),
        }),
    },
    // NVIDIA H100 datasheet, NVL; 1,671 with sparsity.
    DevicePreset {
        name: "h100-nvl",
        aliases: &[],
        hardware: Hardware::Gpu(Gpu {
            label: "H100 NVL",
            memory_mib: 95_830,
            gbytes_per_s: 3_900.0,
            tflops: Rates { f32: 60.0, f16: 835.5, bf16: 835.5 },
            pcie: "pcie5",
            nvlink: Some("nvlink4-bridge"),
        }),
    },
    // NVIDIA H200 datasheet, SXM; 1,979 with sparsity.
    DevicePreset {
        name: "h200",
        aliases: &["h200sxm", "h200141gb"],
        hardware: Hardware::Gpu(Gpu {
            label: "H200 SXM",
            memory_mib: 143_771,
            gbytes_per_s: 4_800.0,
            tflops: Rates { f32: 67.0, f16: 989.5, bf16: 989.5 },
            pcie: "pcie5",
            nvlink: Some("nvlink4"),
        }),
    },
    // NVIDIA HGX B200 datasheet, per GPU; 4,500 with sparsity.
    DevicePreset {
        name: "b200",
        aliases: &["b200sxm", "b200180gb"],
        hardware: Hardware::Gpu(Gpu {
            label: "B200",
            memory_mib: 183_359,
            gbytes_per_s: 7_700.0,
            tflops: Rates { f32: 75.0, f16: 2_250.0, bf16: 2_250.0 },
            pcie: "pcie5",
            nvlink: Some("nvlink5"),
        }),
    },
    // NVIDIA L4 datasheet; 242 with sparsity.
    DevicePreset {
        name: "l4",
        aliases: &[],
        hardware: Hardware::Gpu(Gpu {
            label: "L4",
            memory_mib: 23_034,
            gbytes_per_s: 300.0,
            tflops: Rates { f32: 30.3, f16: 121.0, bf16: 121.0 },
            pcie: "pcie4",
            nvlink: None,
        }),
    },
    // NVIDIA L40S datasheet; 733 with sparsity.
    DevicePreset {
        name: "l40s",
        aliases: &[],
        hardware: Hardware::Gpu(Gpu {
            label: "L40S",
            memory_mib: 46_068,
            gbytes_per_s: 864.0,
            tflops: Rates { f32: 91.6, f16: 362.0, bf16: 362.0 },
            pcie: "pcie4",
            nvlink: None,
        }),
    },
    // NVIDIA A10 datasheet; 250 with sparsity.
    DevicePreset {
        name: "a10",
        aliases: &[],
        hardware: Hardware::Gpu(Gpu {
            label: "A10",
            memory_mib: 23_028,
            gbytes_per_s: 600.0,
            tflops: Rates { f32: 31.2, f16: 125.0, bf16: 125.0 },
            pcie: "pcie4",
            nvlink: None,
        }),
    },
    // NVIDIA A10G datasheet; 140 with sparsity.
    DevicePreset {
        name: "a10g",
        aliases: &[],
        hardware: Hardware::Gpu(Gpu {
            label: "A10G",
            memory_mib: 23_028,
            gbytes_per_s: 600.0,
            tflops: Rates { f32: 35.0, f16: 70.0, bf16: 70.0 },
            pcie: "pcie4",
            nvlink: None,
        }),
    },
    // NVIDIA RTX A6000 datasheet; 309.7 with sparsity.
    DevicePreset {
        name: "a6000",
        aliases: &["rtxa6000"],
        hardware: Hardware::Gpu(Gpu {
            label: "RTX A6000",
            memory_mib: 49_140,
            gbytes_per_s: 768.0,
            tflops: Rates { f32: 38.7, f16: 154.8, bf16: 154.8 },
            pcie: "pcie4",
            nvlink: Some("nvlink3-bridge"),
        }),
    },
    // NVIDIA RTX 6000 Ada datasheet: 1,457 in FP8 with sparsity, a quarter of it dense in f16.
    DevicePreset {
        name: "rtx6000ada",
        aliases: &["6000ada", "rtx6000adageneration"],
        hardware: Hardware::Gpu(Gpu {
            label: "RTX 6000 Ada",
            memory_mib: 49_140,
            gbytes_per_s: 960.0,
            tflops: Rates { f32: 91.1, f16: 364.2, bf16: 364.2 },
            pcie: "pcie4",
            nvlink: None,
        }),
    },
    // Ampere GA102 whitepaper, dense with f32 accumulation, as products here accumulate in f32.
    DevicePreset {
        name: "rtx3090",
        aliases: &["3090"],
        hardware: Hardware::Gpu(Gpu {
            label: "RTX 3090",
            memory_mib: 24_576,
            gbytes_per_s: 936.0,
            tflops: Rates { f32: 35.6, f16: 71.0, bf16: 71.0 },
            pcie: "pcie4",
            nvlink: Some("nvlink3-bridge"),
        }),
    },
    // Ada GPU architecture whitepaper, dense with f32 accumulation.
    DevicePreset {
        name: "rtx4090",
        aliases: &["4090"],
        hardware: Hardware::Gpu(Gpu {
            label: "RTX 4090",
            memory_mib: 24_564,
            gbytes_per_s: 1_008.0,
            tflops: Rates { f32: 82.6, f16: 165.2, bf16: 165.2 },
            pcie: "pcie4",
            nvlink: None,
        }),
    },
    // RTX Blackwell architecture whitepaper, dense with f32 accumulation.
    DevicePreset {
        name: "rtx5090",
        aliases: &["5090"],
        hardware: Hardware::Gpu(Gpu {
            label: "RTX 5090",
            memory_mib: 32_607,
            gbytes_per_s: 1_792.0,
            tflops: Rates { f32: 104.8, f16: 209.5, bf16: 209.5 },
            pcie: "pcie5",
            nvlink: None,
        }),
    },
];
