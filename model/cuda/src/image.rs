//! The devices for which a kernel was compiled, and whether a device can run it.

use std::fmt;

/// A device's compute capability, such as 9.0 for an H200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    pub major: u32,
    pub minor: u32,
}

impl Capability {
    /// Converts the compiler's number: 90 is 9.0, and 120 is 12.0.
    pub fn of_number(number: u32) -> Self {
        Self { major: number / 10, minor: number % 10 }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// One compiled form of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Image {
    /// PTX that the driver compiles when it is loaded, for this capability and all later ones.
    Ptx(Capability),
    /// PTX that uses features of this capability alone (`sm_90a`).
    PtxExact(Capability),
    /// PTX for this capability and later ones of the same generation (`sm_100f`).
    PtxFamily(Capability),
    /// Machine code, for this capability and later ones of the same generation.
    Machine(Capability),
    /// Machine code for this capability alone.
    MachineExact(Capability),
}

impl Image {
    /// Reads the `.target` line of PTX; none if there is none.
    pub fn of_ptx(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(".target"))?;
        let arch = line.trim_start().strip_prefix("sm_")?;
        let end = arch.find(|c: char| !c.is_ascii_digit()).unwrap_or(arch.len());
        let capability = Capability::of_number(arch[..end].parse().ok()?);
        Some(match arch.as_bytes().get(end) {
            Some(b'a') => Self::PtxExact(capability),
            Some(b'f') => Self::PtxFamily(capability),
            _ => Self::Ptx(capability),
        })
    }

    /// Returns whether a device can run the image.
    ///
    /// Source: CUDA C++ Programming Guide, "Compute Capabilities" and "Application Compatibility".
    pub fn runs_on(self, device: Capability) -> bool {
        match self {
            Self::Ptx(built) => device >= built,
            Self::PtxExact(built) | Self::MachineExact(built) => device == built,
            Self::PtxFamily(built) | Self::Machine(built) => {
                device.major == built.major && device.minor >= built.minor
            }
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ptx(built) => write!(f, "PTX for {built} and later"),
            Self::PtxExact(built) => write!(f, "PTX for {built} alone"),
            Self::PtxFamily(built) => write!(f, "PTX for {built} and later {}.x", built.major),
            Self::Machine(built) => {
                write!(f, "machine code for {built} and later {}.x", built.major)
            }
            Self::MachineExact(built) => write!(f, "machine code for {built} alone"),
        }
    }
}

/// The build has no code for a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "compute capability {capability}, but the {kernels} of this build are {found}; \
     build with CUDA_COMPUTE_CAP={} or lower", capability.major * 10 + capability.minor,
    found = list(images)
)]
pub struct ImageError {
    pub capability: Capability,
    /// Which kernels: `kernels` or `quantised kernels`.
    pub kernels: &'static str,
    pub images: Vec<Image>,
}

/// Checks that a device can run one of the images.
///
/// # Errors
/// [`ImageError`] with the available images.
pub fn check_images(
    kernels: &'static str,
    images: &[Image],
    capability: Capability,
) -> Result<(), ImageError> {
    if images.iter().any(|image| image.runs_on(capability)) {
        return Ok(());
    }
    let mut images = images.to_vec();
    images.sort();
    images.dedup();
    Err(ImageError { capability, kernels, images })
}

fn list(images: &[Image]) -> String {
    let images: Vec<String> = images.iter().map(ToString::to_string).collect();
    if images.is_empty() { "absent".to_owned() } else { images.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ptx_says_what_it_is_for() {
        #[track_caller]
        fn check(target: &str, want: Option<Image>) {
            let text = format!("//\n// Generated\n.version 9.0\n{target}\n.address_size 64\n");
            assert_eq!(Image::of_ptx(&text), want);
        }
        check(".target sm_80", Some(Image::Ptx(Capability::of_number(80))));
        check(".target sm_90a", Some(Image::PtxExact(Capability { major: 9, minor: 0 })));
        check(".target sm_103f", Some(Image::PtxFamily(Capability { major: 10, minor: 3 })));
        check(".target sm_120, debug", Some(Image::Ptx(Capability { major: 12, minor: 0 })));
        check(".target x", None);
        check("", None);
    }

    #[test]
    fn each_image_runs_where_nvidia_says() {
        #[track_caller]
        fn check(image: fn(Capability) -> Image, built: u32, runs: &[u32], fails: &[u32]) {
            let image = image(Capability::of_number(built));
            for (devices, want) in [(runs, true), (fails, false)] {
                for device in devices {
                    let device = Capability::of_number(*device);
                    assert_eq!(image.runs_on(device), want, "{image} on {device}");
                }
            }
        }
        check(Image::Ptx, 80, &[80, 86, 89, 90, 100, 120], &[60, 75]);
        check(Image::PtxExact, 90, &[90], &[80, 89, 100]);
        check(Image::PtxFamily, 100, &[100, 103], &[90, 120]);
        check(Image::Machine, 80, &[80, 86, 89], &[75, 90, 120]);
        check(Image::Machine, 86, &[86, 89], &[80, 90]);
        check(Image::MachineExact, 90, &[90], &[89, 100]);
    }

    #[test]
    fn a_device_without_code_is_refused_in_words() {
        let built = [Image::MachineExact(Capability::of_number(90)); 2];
        let error = check_images("quantised kernels", &built, Capability::of_number(89));
        assert_eq!(
            error.unwrap_err().to_string(),
            "compute capability 8.9, but the quantised kernels of this build are machine code for \
             9.0 alone; build with CUDA_COMPUTE_CAP=89 or lower"
        );
        let both = [Image::Ptx(Capability::of_number(80)), built[0]];
        assert_eq!(check_images("kernels", &both, Capability::of_number(89)), Ok(()));
        assert!(check_images("kernels", &[], Capability::of_number(89)).is_err());
    }
}
