//! The PTX in a fat binary, as nvcc links it into a program.
//!
//! NVIDIA does not document the format, which `cuobjdump` reads: a header (magic, version, header
//! length, length of the rest), then entries, each with a header (kind, header length, payload
//! length, compressed length, …, capability, …, flags, …, length of the text) and a payload.

use std::io::Read;

use crate::error::{Code, Failure, Outcome};

const MAGIC: u32 = 0xBA55_ED50;
/// Magic, version, header length, length of all entries.
pub(crate) const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 64;
const PTX: u16 = 1;
/// The flag of a payload that Zstandard has compressed.
const ZSTD: u64 = 0x8000;
/// The longest text that is made of a payload.
const MAX_TEXT_BYTES: usize = 1 << 28;

/// The length that a header states; none if it is not such a header.
pub(crate) fn num_bytes(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    if number::<4>(header, 0)? != u64::from(MAGIC) {
        return None;
    }
    let entries = usize::try_from(number::<8>(header, 8)?).ok()?;
    usize::try_from(number::<2>(header, 6)?).ok()?.checked_add(entries)
}

/// The newest PTX that a device of this capability can run.
pub(crate) fn ptx(bytes: &[u8], device: (u32, u32)) -> Outcome<String> {
    let mut found: Option<(u64, &[u8], &[u8])> = None;
    let mut rest = number::<2>(bytes, 6).and_then(|at| bytes.get(usize::try_from(at).ok()?..));
    while let Some(entry) = rest.filter(|it| it.len() >= ENTRY_BYTES) {
        let Some((header, payload, behind)) = split(entry) else { break };
        let capability = number::<4>(header, 28).unwrap_or(u64::MAX);
        let runs = capability <= u64::from(device.0 * 10 + device.1);
        let is_newer = found.is_none_or(|(before, ..)| before < capability);
        if number::<2>(header, 0) == Some(PTX.into()) && runs && is_newer {
            found = Some((capability, header, payload));
        }
        rest = Some(behind);
    }
    let (_, header, payload) = found.ok_or_else(|| {
        let detail = format!("no PTX for {}.{} in the fat binary", device.0, device.1);
        Failure::new(Code::NoBinaryForGpu, detail)
    })?;
    let text = text(header, payload).map_err(|why| Failure::new(Code::InvalidImage, why))?;
    Ok(text.trim_end_matches('\0').to_owned())
}

/// Header and payload of the first entry, and all behind it.
fn split(entry: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let header = usize::try_from(number::<4>(entry, 4)?).ok()?;
    let payload = usize::try_from(number::<8>(entry, 8)?).ok()?;
    let (header, rest) = entry.split_at_checked(header.max(ENTRY_BYTES))?;
    let (payload, rest) = rest.split_at_checked(payload)?;
    Some((header, payload, rest))
}

fn text(header: &[u8], payload: &[u8]) -> Result<String, String> {
    let flags = number::<8>(header, 40).unwrap_or(0);
    if flags & ZSTD == 0 {
        return String::from_utf8(payload.to_vec()).map_err(|error| error.to_string());
    }
    let len = number::<4>(header, 16).and_then(|it| usize::try_from(it).ok());
    let packed = len.and_then(|len| payload.get(..len)).ok_or("the payload is cut off")?;
    let decoder = ruzstd::decoding::StreamingDecoder::new(packed).map_err(|it| it.to_string())?;
    let mut text = String::new();
    decoder
        .take(MAX_TEXT_BYTES as u64)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(text)
}

/// A number of so many bytes, the lowest first.
fn number<const BYTES: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + BYTES)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u16, capability: u32, flags: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..2].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&64_u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes[16..20].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes[28..32].copy_from_slice(&capability.to_le_bytes());
        bytes[40..48].copy_from_slice(&flags.to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    fn fat_binary(entries: &[Vec<u8>]) -> Vec<u8> {
        let entries = entries.concat();
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend([1, 0, 16, 0]);
        bytes.extend((entries.len() as u64).to_le_bytes());
        bytes.extend(entries);
        bytes
    }

    #[test]
    fn the_newest_text_that_runs_is_taken() {
        let packed = ruzstd::encoding::compress_to_vec(
            &b"ninety"[..],
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        let bytes = fat_binary(&[
            entry(2, 80, 0, b"machine code"),
            entry(PTX, 80, 0, b"eighty\0\0"),
            entry(PTX, 90, ZSTD, &packed),
            entry(PTX, 75, 0, b"older"),
        ]);
        assert_eq!(num_bytes(bytes.first_chunk().unwrap()), Some(bytes.len()));
        assert_eq!(ptx(&bytes, (9, 0)).unwrap(), "ninety");
        assert_eq!(ptx(&bytes, (8, 9)).unwrap(), "eighty");
        let missing = ptx(&bytes, (7, 0)).unwrap_err();
        assert_eq!(missing.code, Code::NoBinaryForGpu);
        for len in 0..bytes.len() {
            let _ = ptx(&bytes[..len], (9, 0));
        }
        assert_eq!(num_bytes(&[0; HEADER_BYTES]), None);
    }
}
