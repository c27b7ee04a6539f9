//! cuRAND: uniform random numbers.

use std::{
    collections::HashMap,
    ffi::{c_int, c_uint},
    sync::{Mutex, PoisonError},
};

use super::{SUCCESS, call, check_context, current, current_stream, put};
use crate::{
    error::{Code, Failure, Outcome},
    memory::Span,
    product::Number,
    random::Uniform,
    work::Work,
    world::ContextId,
};

/// Source: `curand.h`, `curandStatus_t`.
const LAUNCH_FAILURE: c_int = 201;

#[derive(Debug, Clone, Copy)]
struct Generator {
    context: ContextId,
    stream: u64,
    seed: u64,
    num_given: u64,
}

static GENERATORS: Mutex<Option<HashMap<u64, Generator>>> = Mutex::new(None);

fn generators<T>(change: impl FnOnce(&mut HashMap<u64, Generator>) -> T) -> T {
    let mut generators = GENERATORS.lock().unwrap_or_else(PoisonError::into_inner);
    change(generators.get_or_insert_default())
}

fn change(generator: u64, change: impl FnOnce(&mut Generator)) -> Outcome<Generator> {
    generators(|it| {
        let generator = it.get_mut(&generator);
        let generator = generator
            .ok_or_else(|| Failure::new(Code::InvalidValue, "there is no such generator"))?;
        let before = *generator;
        change(generator);
        Ok(before)
    })
}

fn status(result: c_int) -> c_int {
    if result == SUCCESS { SUCCESS } else { LAUNCH_FAILURE }
}

/// # Safety
/// As cuRAND: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn curandCreateGenerator(target: *mut u64, _kind: c_uint) -> c_int {
    status(call("curandCreateGenerator", |world| {
        let context = world.context(current(world)?);
        let handle = generators(|it| {
            let handle = it.keys().max().map_or(1, |last| last + 1);
            it.insert(handle, Generator { context, stream: 0, seed: 0, num_given: 0 });
            handle
        });
        // SAFETY: the caller's pointer.
        unsafe { put(target, handle) }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn curandDestroyGenerator(generator: u64) -> c_int {
    status(call("curandDestroyGenerator", |_| {
        change(generator, |_| {})?;
        generators(|it| it.remove(&generator));
        Ok(())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn curandSetStream(generator: u64, stream: u64) -> c_int {
    status(call("curandSetStream", |_| change(generator, |it| it.stream = stream).map(drop)))
}

#[unsafe(no_mangle)]
extern "C" fn curandSetPseudoRandomGeneratorSeed(generator: u64, seed: u64) -> c_int {
    status(call("curandSetPseudoRandomGeneratorSeed", |_| {
        change(generator, |it| (it.seed, it.num_given) = (seed, 0)).map(drop)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn curandGenerateUniform(generator: u64, target: u64, count: usize) -> c_int {
    uniform("curandGenerateUniform", generator, Number::F32, (target, count))
}

#[unsafe(no_mangle)]
extern "C" fn curandGenerateUniformDouble(generator: u64, target: u64, count: usize) -> c_int {
    uniform("curandGenerateUniformDouble", generator, Number::F64, (target, count))
}

fn uniform(
    function: &'static str,
    generator: u64,
    number: Number,
    (target, count): (u64, usize),
) -> c_int {
    status(call(function, |world| {
        let current = world.context(current(world)?);
        let found = change(generator, |it| it.num_given += count as u64)?;
        let Generator { context, stream, seed, num_given } = found;
        check_context("a generator", context, current)?;
        let (device, stream) = current_stream(world, stream)?;
        let bytes = count.checked_mul(number.bytes()).filter(|bytes| *bytes > 0);
        let refused = || Failure::new(Code::InvalidValue, format!("{count} numbers"));
        let target = Span { address: target, bytes: bytes.ok_or_else(refused)? };
        let uniform = Uniform { target, number, seed, skipped: num_given };
        world.enqueue(device, stream, Work::Uniform(uniform)).map(drop)
    }))
}
