//! Walks a copied stack: by the program's unwind tables (`.eh_frame`: all of Rust, C++ and the C library),
//! otherwise by frame pointers. Every read is a look-up in the copy, so invalid registers and words can only
//! end a walk.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use gimli::{CfaRule, RegisterRule, UnwindContext, UnwindTableRow};

use super::{
    modules::{self, Module},
    regs::Regs,
    tally::End,
};

/// Maximum number of frames.
const MAX_FRAMES: usize = 256;
/// Minimum time between two searches for newly loaded code.
const REFRESH: Duration = Duration::from_secs(1);

/// The step from a function to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// The caller's stack pointer is sp or fp plus `offset`; the return address, and the caller's fp if it
    /// was saved, are at these distances from it.
    Table {
        from_fp: bool,
        offset: i64,
        ra: i64,
        fp: Option<i64>,
    },
    FramePointer,
    Root,
}

pub struct Unwinder {
    modules: Vec<Module>,
    read_at: Instant,
    rules: HashMap<usize, Option<Rule>, ahash::RandomState>,
    /// Address where the last walk ended, or of the first function left by its frame pointer.
    stopped: usize,
    ctx: Box<UnwindContext<usize>>,
}

impl Unwinder {
    pub fn new() -> Self {
        Self {
            modules: modules::loaded(),
            read_at: Instant::now(),
            rules: HashMap::default(),
            stopped: 0,
            ctx: Box::new(UnwindContext::new()),
        }
    }

    /// Fills `out` with return addresses, innermost first; the interrupted address counts as one, too.
    pub fn walk(&mut self, regs: Regs, stack: &[u64], out: &mut Vec<usize>) -> End {
        let mut guessed = None;
        let end = self.walk_on(regs, stack, out, &mut guessed);
        match (end, guessed) {
            (End::Broken, Some(at)) => {
                self.stopped = at;
                End::NoTable
            }
            _ => end,
        }
    }

    /// Returns the module in which the last walk ended; only valid if the walk did not reach the root.
    pub fn stopped_in(&self) -> String {
        let module = self.modules.iter().find(|m| m.holds(self.stopped));
        module.map_or_else(|| "no module".to_owned(), |m| m.name.clone())
    }

    fn walk_on(
        &mut self,
        regs: Regs,
        stack: &[u64],
        out: &mut Vec<usize>,
        guessed: &mut Option<usize>,
    ) -> End {
        out.clear();
        let copy = Copied { from: regs.stack_from(), words: stack };
        // An address within the interrupted function; return addresses point after their call.
        let (mut regs, mut within) = (regs, regs.pc);
        out.push(regs.pc.wrapping_add(1));
        loop {
            let Some(rule) = self.rule(within) else {
                // No code: a jump to an invalid address, or code generated at run time.
                if out.len() > 1 {
                    out.pop();
                }
                return End::Broken;
            };
            self.stopped = within;
            if rule == Rule::FramePointer {
                guessed.get_or_insert(within);
            }
            if rule == Rule::Root {
                return End::Root;
            }
            let caller = match step(rule, regs, &copy) {
                Ok(caller) => caller,
                Err(end) => return end,
            };
            // Nothing calls address 0, and a stack that does not shrink would never end.
            if caller.pc == 0 {
                return End::Root;
            }
            if caller.sp <= regs.sp {
                return End::Broken;
            }
            if out.len() == MAX_FRAMES {
                return End::Deep;
            }
            out.push(caller.pc);
            within = caller.pc.wrapping_sub(1);
            regs = caller;
        }
    }

    /// Returns the rule at an address; `None`: there is no code.
    fn rule(&mut self, pc: usize) -> Option<Rule> {
        if let Some(known) = self.rules.get(&pc) {
            if known.is_some() || self.read_at.elapsed() < REFRESH {
                return *known;
            }
            self.rules.clear();
            self.modules = modules::loaded();
            self.read_at = Instant::now();
        }
        let module = self.modules.iter().find(|m| m.holds(pc));
        let rule = module.map(|m| m.row(pc, &mut self.ctx, from_row).flatten().unwrap_or(Rule::FramePointer));
        self.rules.insert(pc, rule);
        rule
    }
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const FP: u16 = 6;
    pub const SP: u16 = 7;
    pub const RA: u16 = 16;
}
#[cfg(not(target_arch = "x86_64"))]
mod number {
    pub const FP: u16 = 29;
    pub const SP: u16 = 31;
    pub const RA: u16 = 30;
}

/// Converts a row of the table; `None` for rare rules: an expression, another register.
fn from_row(row: &UnwindTableRow<usize>) -> Option<Rule> {
    let at = |n: u16| row.register(gimli::Register(n));
    let ra = match at(number::RA) {
        Some(RegisterRule::Undefined) => return Some(Rule::Root),
        Some(RegisterRule::Offset(ra)) => ra,
        _ => return None,
    };
    let fp = match at(number::FP) {
        Some(RegisterRule::Offset(fp)) => Some(fp),
        None | Some(RegisterRule::SameValue | RegisterRule::Undefined) => None,
        _ => return None,
    };
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
    let from_fp = match register.0 {
        number::FP => true,
        number::SP => false,
        _ => return None,
    };
    Some(Rule::Table { from_fp, offset: *offset, ra, fp })
}

/// Returns the caller's registers.
fn step(rule: Rule, regs: Regs, stack: &Copied<'_>) -> Result<Regs, End> {
    let Rule::Table { from_fp, offset, ra, fp } = rule else {
        // In code without frame pointers the value may be below the stack pointer.
        if regs.fp < regs.sp {
            return Err(End::Broken);
        }
        let (fp, pc) = (stack.word(regs.fp)?, stack.word(regs.fp.wrapping_add(8))?);
        return Ok(Regs { pc, sp: regs.fp.wrapping_add(16), fp });
    };
    let cfa = if from_fp { regs.fp } else { regs.sp }.wrapping_add_signed(offset as isize);
    let word = |distance: i64| stack.word(cfa.wrapping_add_signed(distance as isize));
    let saved = fp.map(word).transpose()?;
    Ok(Regs { pc: word(ra)?, sp: cfa, fp: saved.unwrap_or(regs.fp) })
}

/// The copied words of a stack.
struct Copied<'a> {
    from: usize,
    words: &'a [u64],
}

impl Copied<'_> {
    fn word(&self, address: usize) -> Result<usize, End> {
        let distance = address.checked_sub(self.from).filter(|d| d.is_multiple_of(8)).ok_or(End::Broken)?;
        match self.words.get(distance / 8) {
            Some(word) => Ok(*word as usize),
            // Just beyond the copy: the stack continues there; far beyond: no address of this stack.
            None if distance < (8 << 20) => Err(End::Deep),
            None => Err(End::Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn walked(regs: Regs, stack: &[u64]) -> (Vec<usize>, End) {
        thread_local!(static UNWINDER: RefCell<Unwinder> = RefCell::new(Unwinder::new()));
        let mut out = Vec::new();
        let end = UNWINDER.with(|u| u.borrow_mut().walk(regs, stack, &mut out));
        (out, end)
    }

    #[test]
    fn registers_of_any_value_end_the_walk() {
        let here = walked as fn(Regs, &[u64]) -> _ as usize;
        for word in [0, 1, 7, 8, 0x1000, 0x1008, usize::MAX, usize::MAX - 7, 1 << 47, here, here + 9] {
            for fp in [0, 8, 0x1000, 0x1010, 0x7fff_0000_0000, usize::MAX, here] {
                for sp in [0, 3, 0x1000, usize::MAX, usize::MAX - 15] {
                    let stack = [word as u64; 64];
                    let (frames, _) = walked(Regs { pc: word, sp, fp }, &stack);
                    assert!(frames.len() <= MAX_FRAMES);
                    walked(Regs { pc: here, sp, fp }, &stack[..word % 64]);
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn stacks_of_any_words_end_the_walk(
            pc: usize, sp: usize, fp: usize, inside: bool, words in proptest::collection::vec(proptest::num::u64::ANY, 0..80),
        ) {
            let fp = if inside { (sp & !7).wrapping_add(fp % 640) } else { fp };
            let here = Unwinder::new as fn() -> Unwinder as usize;
            for pc in [pc, here + pc % 64] {
                let (frames, _) = walked(Regs { pc, sp, fp }, &words);
                proptest::prop_assert!(frames.len() <= MAX_FRAMES, "{}", frames.len());
            }
        }
    }
}
