//! Rows of logits sampled where they are, on a GPU: what is to be done to each, and what is found.
//!
//! Both cross as words of 32 bits, whose layout `kernels/sampling.cu` shares.

use candle_core::{Result, Tensor, bail};

use crate::{home::Executor, kernels::SamplingSizes};

/// Words of a row, as `Row` has them there.
const ROW_WORDS: usize = 20;
/// Words of what is found in a row, as `Found` has them, without tokens.
const FOUND_WORDS: usize = 6;
/// Words of a token and its logit.
const CHOICE_WORDS: usize = 2;

/// What is done to one row of logits.
#[derive(Debug, Clone)]
pub struct RowOrder<'a> {
    pub logit_row: usize,
    /// As the constraint engine encodes it; none for a row that is free. Rows with the same bytes
    /// share them.
    pub mask: Option<&'a [u8]>,
    pub penalties: Penalties,
    /// Tokens, each once, with the number of their occurrences in the output.
    pub counts: Vec<[u32; 2]>,
    /// Tokens that are chosen only if nothing else is allowed.
    pub held_back: &'a [u32],
    pub draws: Option<Draws>,
    /// How many of the most likely tokens are wanted.
    pub num_likely: usize,
}

/// What makes tokens less likely that were there already.
#[derive(Debug, Clone, Copy)]
pub struct Penalties {
    pub repetition: f32,
    pub frequency: f32,
    pub presence: f32,
}

/// Random draws from one distribution.
#[derive(Debug, Clone)]
pub struct Draws {
    /// Above zero.
    pub temperature: f32,
    pub top_k: Option<usize>,
    /// Top-p in 2^64ths; none for all tokens.
    pub top_p: Option<u64>,
    /// What a token must weigh, where the most likely one weighs [`ONE`](crate::softmax::ONE).
    pub min_p: u64,
    /// A random number for each draw.
    pub numbers: Vec<u64>,
}

/// What a row has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Tokens(FoundTokens),
    /// No token is allowed that has a finite logit.
    NoToken,
    /// The mask cannot be read, or allows nothing.
    MaskRefused,
}

/// The tokens of a row, with their logits after penalties.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundTokens {
    pub most_likely: (u32, f32),
    /// `exp(logit - greatest)` of all allowed tokens, in parts of [`ONE`](crate::softmax::ONE).
    pub sum: u64,
    /// One for each draw.
    pub drawn: Vec<(u32, f32)>,
    /// Most likely first; of equals, the lowest id first.
    pub likely: Vec<(u32, f32)>,
}

/// Rows that are sampled together.
#[derive(Debug, Default)]
pub struct SamplingOrders<'a> {
    rows: Vec<[u32; ROW_WORDS]>,
    /// What rows refer to.
    lists: Vec<u32>,
    masks: Vec<(&'a [u8], u32)>,
    num_mask_words: usize,
    outputs: Vec<Output>,
    num_output_words: usize,
}

/// The words of [`SamplingOrders`].
#[derive(Debug, Clone)]
pub struct PackedOrders {
    pub words: Vec<u32>,
    /// How much of it masks take.
    pub num_mask_bytes: usize,
}

/// Where a row's tokens are.
#[derive(Debug, Clone, Copy)]
struct Output {
    start: usize,
    num_draws: usize,
}

impl<'a> SamplingOrders<'a> {
    /// Adds a row; what is found in it has the same index.
    ///
    /// # Panics
    /// There are 2^32 of anything.
    pub fn push(&mut self, row: &RowOrder<'a>) {
        let [mask, mask_bytes] = self.mask(row.mask);
        let [counts, num_counts] = self.list(row.counts.iter().copied());
        // With room for the logit of each.
        let [held_back, num_held_back] = self.list(row.held_back.iter().map(|token| [*token, 0]));
        let draws = row.draws.as_ref();
        let numbers = draws.iter().flat_map(|draws| &draws.numbers);
        let [numbers, num_draws] = self.list(numbers.map(|number| halves(*number)));
        let temperature = draws.map_or(1.0, |draws| draws.temperature);
        // A top-k beyond 2^32 is one that no vocabulary has.
        let top_k = |top_k: usize| u32::try_from(top_k.max(1)).unwrap_or(0);
        let top_k = draws.and_then(|draws| draws.top_k).map_or(0, top_k);
        let top_p = halves(draws.and_then(|draws| draws.top_p).unwrap_or(u64::MAX));
        let min_p = halves(draws.map_or(0, |draws| draws.min_p));
        let Penalties { repetition, frequency, presence } = row.penalties;
        let start = self.num_output_words;
        let num_choices = num_draws as usize + row.num_likely;
        self.num_output_words += FOUND_WORDS + num_choices * CHOICE_WORDS;
        self.outputs.push(Output { start, num_draws: num_draws as usize });
        self.rows.push([
            word(row.logit_row),
            mask,
            mask_bytes,
            counts,
            num_counts,
            held_back,
            num_held_back,
            numbers,
            num_draws,
            word(row.num_likely),
            word(start),
            temperature.to_bits(),
            top_k,
            top_p[0],
            top_p[1],
            min_p[0],
            min_p[1],
            repetition.to_bits(),
            frequency.to_bits(),
            presence.to_bits(),
        ]);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All that goes up.
    pub fn pack(&self) -> PackedOrders {
        let words = [self.rows.as_flattened(), &self.lists].concat();
        let num_mask_bytes = self.num_mask_words * size_of::<u32>();
        PackedOrders { words, num_mask_bytes }
    }

    /// Bytes of what is found.
    pub fn num_found_bytes(&self) -> usize {
        self.num_output_words * size_of::<u32>()
    }

    /// Has a GPU sample the rows, whose words are there already: what is found, as words. It changes
    /// the rows' logits.
    ///
    /// `logits`: `[rows, vocab]`, f32. `valid`: `[ceil(vocab / 32)]`, u32, a bit for each token that
    /// exists.
    ///
    /// # Errors
    /// The device's, or tensors are elsewhere or not such.
    pub fn sample(
        &self,
        executor: &Executor,
        logits: &Tensor,
        words: &Tensor,
        valid: &Tensor,
    ) -> Result<Tensor> {
        let wanted = self.rows.len() * ROW_WORDS + self.lists.len();
        if words.dims() != [wanted] {
            bail!("wanted {wanted} words about sampling, found {words:?}");
        }
        let sizes = SamplingSizes { num_rows: self.rows.len(), num_found: self.num_output_words };
        executor.kernels.sample(logits, words, valid, sizes)
    }

    /// Reads what was found in each row.
    ///
    /// # Errors
    /// These are not the words that [`Self::sample`] has returned.
    pub fn read(&self, words: &[u32]) -> Result<Vec<Found>> {
        let read = |output: &Output| {
            let words = words.get(output.start..).and_then(|words| read_row(words, *output));
            words.ok_or_else(|| candle_core::Error::msg("sampling has found something unknown"))
        };
        self.outputs.iter().map(read).collect()
    }

    /// Where a mask begins, and its bytes and one more; that is zero where the row is free.
    fn mask(&mut self, mask: Option<&'a [u8]>) -> [u32; 2] {
        let Some(bytes) = mask else { return [0, 0] };
        let known = self.masks.iter().find(|(known, _)| std::ptr::eq(*known, bytes));
        let start = known.map_or_else(|| word(self.lists.len()), |(_, start)| *start);
        if known.is_none() {
            let words = bytes.chunks(size_of::<u32>()).map(|bytes| {
                let mut word = [0; size_of::<u32>()];
                word[..bytes.len()].copy_from_slice(bytes);
                u32::from_le_bytes(word)
            });
            self.lists.extend(words);
            self.num_mask_words += bytes.len().div_ceil(size_of::<u32>());
            self.masks.push((bytes, start));
        }
        [start, word(bytes.len() + 1)]
    }

    /// Where a list begins, and its length.
    fn list(&mut self, list: impl Iterator<Item = [u32; 2]>) -> [u32; 2] {
        let start = self.lists.len();
        self.lists.extend(list.flatten());
        [word(start), word((self.lists.len() - start) / 2)]
    }
}

fn read_row(words: &[u32], output: Output) -> Option<Found> {
    let (found, rest) = words.split_first_chunk::<FOUND_WORDS>()?;
    let [status, most_likely, greatest, sum_low, sum_high, num_likely] = *found;
    let (drawn, rest) = rest.split_at_checked(output.num_draws * CHOICE_WORDS)?;
    let choices = |words: &[u32]| -> Vec<(u32, f32)> {
        let choices = words.as_chunks::<CHOICE_WORDS>().0.iter();
        choices.map(|[token, logit]| (*token, f32::from_bits(*logit))).collect()
    };
    match status {
        0 => {
            let mut likely = choices(rest.get(..num_likely as usize * CHOICE_WORDS)?);
            likely.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            Some(Found::Tokens(FoundTokens {
                most_likely: (most_likely, f32::from_bits(greatest)),
                sum: u64::from(sum_high) << 32 | u64::from(sum_low),
                drawn: choices(drawn),
                likely,
            }))
        }
        1 => Some(Found::NoToken),
        2 => Some(Found::MaskRefused),
        _ => None,
    }
}

/// The lower half first.
#[expect(clippy::cast_possible_truncation, reason = "halves")]
fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

fn word(number: usize) -> u32 {
    u32::try_from(number).expect("rows and lists are below 2^32")
}
