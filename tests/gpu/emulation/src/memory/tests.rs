use sluicegate_ptx::Memory as _;

use super::*;

fn memory() -> Memory {
    Memory::of(&Machine::parse("2x 1MiB").unwrap())
}

fn span(address: u64, bytes: usize) -> Span {
    Span { address, bytes }
}

#[test]
fn what_is_written_is_read() {
    let mut memory = memory();
    let at = memory.allocate(1, 100).unwrap();
    assert_eq!(memory.owner(at), Some(1));
    memory.write(1, span(at + 4, 3)).unwrap().0.copy_from_slice(&[1, 2, 3]);
    assert_eq!(memory.read(1, span(at + 5, 2)).unwrap().0, [2, 3]);
    let mut kernel = KernelMemory::new(&mut memory, 1);
    kernel.write(at + 7, &[4, 5]).unwrap();
    let mut bytes = [0; 3];
    kernel.read(at + 6, &mut bytes).unwrap();
    assert_eq!(bytes, [3, 4, 5]);
    let touched = kernel.into_touched();
    assert_eq!(touched.len(), 1);
    assert_eq!(
        (touched[0].read, touched[0].written),
        (Some(span(at + 6, 3)), Some(span(at + 7, 2)))
    );
}

#[test]
fn every_wrong_use_has_its_words() {
    let mut memory = memory();
    let [at, other, freed] = [0, 1, 0].map(|device| memory.allocate(device, 1000).unwrap());
    memory.free(freed, "a test").unwrap();
    let check = |device, address, bytes, want: &str| {
        assert_eq!(memory.read(device, span(address, bytes)).unwrap_err(), want);
    };
    check(0, at, 4, "byte 0 of the allocation of 1000 was never written");
    check(0, at + 996, 8, "4 bytes behind the end of an allocation of 1000 bytes");
    check(0, at + 1000, 4, "4 bytes behind the end of an allocation of 1000 bytes");
    check(0, other, 4, "the memory is of cuda:1, and cuda:0 has no access to it");
    check(0, freed + 8, 4, "the memory was freed by a test");
    check(0, 16, 4, "nothing is allocated there");
    check(0, at - 4, 4, "nothing is allocated there");
    check(0, other - 4, 4, "nothing is allocated there");
    check(0, u64::MAX - 1, 4, "nothing is allocated there");
    let twice = memory.free(freed, "a test").unwrap_err();
    assert_eq!(twice.code, Code::InvalidValue);
    assert!(twice.detail.ends_with("was freed before, by a test"), "{twice}");
    assert!(memory.free(at + 8, "a test").is_err());
    assert!(memory.let_reach(0, 1) && !memory.let_reach(0, 1));
    assert!(memory.write(0, span(other, 4)).is_ok());
    assert!(memory.write(1, span(at, 4)).is_err(), "access goes one way");
}

#[test]
fn copies_know_what_was_never_written() {
    let mut memory = memory();
    let [source, target] = [8, 8].map(|bytes| memory.allocate(0, bytes).unwrap());
    memory.write(0, span(target, 8)).unwrap().0.fill(9);
    memory.write(0, span(source, 3)).unwrap().0.copy_from_slice(&[1, 2, 3]);
    memory.copy([0; 2], span(source, 4), target + 2).unwrap();
    assert_eq!(memory.read(0, span(target, 5)).unwrap().0, [9, 9, 1, 2, 3]);
    let missing = "byte 5 of the allocation of 8 was never written";
    assert_eq!(memory.read(0, span(target, 8)).unwrap_err(), missing);
    assert_eq!(memory.read(0, span(target + 6, 2)).unwrap().0, [9, 9]);
}

#[test]
fn memory_is_spent_and_comes_back() {
    let mut memory = memory();
    assert_eq!(memory.allocate(0, 0).unwrap_err().code, Code::InvalidValue);
    let at = memory.allocate(0, 1 << 19).unwrap();
    let refused = memory.allocate(0, (1 << 19) + 1).unwrap_err();
    assert_eq!(refused.code, Code::OutOfMemory);
    assert_eq!(refused.detail, "cuda:0: wanted 524800 bytes, 524288 are free");
    let again = memory.allocate(0, 1 << 19).unwrap();
    assert_eq!(memory.info(0), (0, 1 << 20));
    memory.free(at, "a test").unwrap();
    assert_ne!(memory.allocate(0, 1 << 19).unwrap(), at, "no address is given out twice");
    memory.free_all(0);
    assert_eq!(memory.info(0), (1 << 20, 1 << 20));
    assert!(memory.free(again, "a test").is_err());
}

#[test]
fn what_a_link_garbles_is_one_bit() {
    for (machine, want) in [("2x 1MiB", [1, 2, 3, 4]), ("2x 1MiB, garbage", [1, 2, 2, 4])] {
        let mut memory = Memory::of(&Machine::parse(machine).unwrap());
        let [here, there, beside] = [0, 1, 0].map(|device| memory.allocate(device, 4).unwrap());
        memory.write(0, span(here, 4)).unwrap().0.copy_from_slice(&[1, 2, 3, 4]);
        memory.copy([0, 1], span(here, 4), there).unwrap();
        assert_eq!(memory.read(1, span(there, 4)).unwrap().0, want);
        memory.copy([0, 0], span(here, 4), beside).unwrap();
        assert_eq!(memory.read(0, span(beside, 4)).unwrap().0, [1, 2, 3, 4]);
    }
}
