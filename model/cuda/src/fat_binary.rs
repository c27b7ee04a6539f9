//! Lists the images in a fat binary by its headers.
//!
//! NVIDIA does not document the format, which `cuobjdump` reads: a header (magic, version, header
//! length, length of the rest), then entries, each with a header (kind, header length, payload
//! length, …, capability) and a payload.

use crate::image::{Capability, Image};

const MAGIC: u32 = 0xBA55_ED50;
/// Magic, version, header length, length of all entries.
pub(crate) const HEADER_BYTES: usize = 16;
/// The entry header up to and including the capability.
const ENTRY_BYTES: usize = 32;

const PTX: u16 = 1;
const ELF: u16 = 2;

/// From this generation on the compiler may build for a single capability, and the headers do not
/// tell.
const FIRST_EXACT: u32 = 9;

/// Returns the total length stated by a fat binary's header; none if it is not such a header.
pub(crate) fn num_bytes(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    if u32_at(header, 0)? != MAGIC {
        return None;
    }
    let entries = usize::try_from(u64_at(header, 8)?).ok()?;
    usize::from(u16_at(header, 6)?).checked_add(entries)
}

/// Returns the images of a fat binary, as far as its headers are consistent.
pub(crate) fn images(bytes: &[u8]) -> Vec<Image> {
    let mut images = Vec::new();
    let Some(mut at) = u16_at(bytes, 6).map(usize::from) else { return images };
    while let Some(entry) = bytes.get(at..).filter(|entry| entry.len() >= ENTRY_BYTES) {
        let capability = u32_at(entry, 28).map(Capability::of_number);
        match (u16_at(entry, 0), capability) {
            (Some(PTX), Some(capability)) => images.push(Image::Ptx(capability)),
            (Some(ELF), Some(capability)) if capability.major >= FIRST_EXACT => {
                images.push(Image::MachineExact(capability));
            }
            (Some(ELF), Some(capability)) => images.push(Image::Machine(capability)),
            _ => {}
        }
        let header = u32_at(entry, 4).and_then(|it| usize::try_from(it).ok());
        let payload = u64_at(entry, 8).and_then(|it| usize::try_from(it).ok());
        let Some(length) = header.zip(payload).and_then(|(it, other)| it.checked_add(other)) else {
            break;
        };
        let Some(next) = at.checked_add(length.max(ENTRY_BYTES)) else { break };
        at = next;
    }
    images
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u16, capability: u32, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0; 64 + payload];
        bytes[..2].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&64_u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&(payload as u64).to_le_bytes());
        bytes[28..32].copy_from_slice(&capability.to_le_bytes());
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
    fn every_entry_is_read() {
        let entries = [entry(ELF, 80, 24), entry(3, 0, 8), entry(ELF, 90, 0), entry(PTX, 80, 40)];
        let bytes = fat_binary(&entries);
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().unwrap();
        assert_eq!(num_bytes(header), Some(bytes.len()));
        let want = [
            Image::Machine(Capability::of_number(80)),
            Image::MachineExact(Capability::of_number(90)),
            Image::Ptx(Capability::of_number(80)),
        ];
        assert_eq!(images(&bytes), want);
    }

    #[test]
    fn wrong_headers_are_read_no_further() {
        assert_eq!(num_bytes(&[0; HEADER_BYTES]), None);
        assert_eq!(images(&[]), []);
        let mut bytes = fat_binary(&[entry(PTX, 80, 0), entry(PTX, 90, 0)]);
        let first = Image::Ptx(Capability::of_number(80));
        assert_eq!(images(&bytes[..HEADER_BYTES + 70]), [first]);
        bytes[HEADER_BYTES + 8..HEADER_BYTES + 16].fill(0xFF);
        assert_eq!(images(&bytes), [first]);
    }
}
