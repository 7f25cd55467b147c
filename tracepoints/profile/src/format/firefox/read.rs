//! Firefox's processed profile as a profile.
use serde_json::Value;

use super::schema::{File, Samples, Tables, Thread};
use crate::{
    ProfileError,
    format::{Format, fail},
    model::{Frame, FrameId, LabelsId, Module, ModuleId, Profile, StackId, keys},
};

/// Reads the samples of all threads, of this version and those whose tables have the same columns.
///
/// # Errors
/// [`ProfileError::Format`] with the line, or with the row of the table that refers to one which is not there.
pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let file: File = serde_json::from_slice(bytes)
        .map_err(|e| fail(Format::Firefox, format!("line {} column {}", e.line(), e.column()), e))?;
    let first = file.threads.iter().find_map(|t| t.samples.weight_type.as_deref());
    let (kind, unit, scale) = match first {
        Some("tracing-ms") => ("time", "nanoseconds", 1e6),
        Some("bytes") => ("space", "bytes", 1.0),
        _ => ("samples", "count", 1.0),
    };
    let mut profile = Profile::new(&[(kind, unit)]);
    profile.time_ns = (file.meta.start_time * 1e6) as i64;
    if file.meta.interval > 0.0 {
        profile.period_type = Some(profile.value_type("wall", "nanoseconds"));
        profile.period = (file.meta.interval * 1e6) as i64;
    }
    let modules = modules(&mut profile, &file);
    for (n, thread) in file.threads.iter().enumerate() {
        let mut reader = Reader { profile: &mut profile, file: &file, thread, n, modules: &modules };
        let frames = reader.frames()?;
        let stacks = reader.stacks(&frames)?;
        reader.samples(&stacks, scale)?;
    }
    Ok(profile)
}

fn modules(profile: &mut Profile, file: &File) -> Vec<ModuleId> {
    let libs = file.libs.iter();
    libs.map(|lib| {
        let path = if lib.path.is_empty() { &lib.name } else { &lib.path };
        let path = profile.intern(path);
        let build_id = profile.intern(lib.code_id.as_deref().unwrap_or_default());
        profile.module(Module { path, build_id, ..Module::default() })
    })
    .collect()
}

struct Reader<'a> {
    profile: &'a mut Profile,
    file: &'a File,
    thread: &'a Thread,
    n: usize,
    modules: &'a [ModuleId],
}

impl<'a> Reader<'a> {
    /// A table of the thread, or else the shared one.
    fn table<T>(&self, name: &str, of: impl Fn(&'a Tables) -> Option<&'a T>) -> Result<&'a T, ProfileError> {
        of(&self.thread.tables).or_else(|| of(&self.file.shared)).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, what: impl std::fmt::Display) -> ProfileError {
        fail(Format::Firefox, format!("thread {}", self.n), format!("there is no {what}"))
    }

    fn frames(&mut self) -> Result<Vec<FrameId>, ProfileError> {
        let table = self.table("frameTable", |t| t.frame_table.as_ref())?;
        let funcs = self.table("funcTable", |t| t.func_table.as_ref())?;
        let strings = self.table("stringArray", |t| t.string_array.as_ref())?;
        let resources = self.table("resourceTable", |t| t.resource_table.as_ref()).ok();
        let sources = self.table("sources", |t| t.sources.as_ref()).ok();
        let mut frames = Vec::with_capacity(table.func.len());
        for (i, func) in table.func.iter().enumerate() {
            let name = *funcs.name.get(*func).ok_or_else(|| self.missing(format!("function {func}")))?;
            let name = strings.get(name).ok_or_else(|| self.missing(format!("string {name}")))?;
            let source = || sources?.filename.get((*funcs.source.get(*func)?)?).copied();
            let file = funcs.file_name.get(*func).copied().flatten().or_else(source);
            let file = file.and_then(|file| strings.get(file)).map_or("", String::as_str);
            let module = || {
                let resource = usize::try_from(*funcs.resource.get(*func)?).ok()?;
                self.modules.get((*resources?.lib.get(resource)?)?).copied()
            };
            let address = table.address.get(i).and_then(|a| u64::try_from(*a).ok()).unwrap_or(0);
            let frame = Frame {
                module: module(),
                address,
                line: table.line.get(i).copied().flatten().unwrap_or(0),
                column: table.column.get(i).copied().flatten().unwrap_or(0),
                inlined: table.inline_depth.get(i).is_some_and(|depth| *depth > 0),
                function: self.profile.intern(name),
                file: self.profile.intern(file),
                ..Frame::default()
            };
            frames.push(self.profile.add_frame(frame));
        }
        Ok(frames)
    }

    fn stacks(&mut self, frames: &[FrameId]) -> Result<Vec<StackId>, ProfileError> {
        let table = self.table("stackTable", |t| t.stack_table.as_ref())?;
        let mut stacks: Vec<StackId> = Vec::with_capacity(table.frame.len());
        for (i, frame) in table.frame.iter().enumerate() {
            let prefix = match table.prefix.get(i).copied().flatten() {
                None => StackId::ROOT,
                // A stack stands behind those it is built on.
                Some(prefix) => *stacks
                    .get(prefix)
                    .ok_or_else(|| self.missing(format!("stack {prefix} before stack {i}, its callee")))?,
            };
            let frame = *frames.get(*frame).ok_or_else(|| self.missing(format!("frame {frame}")))?;
            stacks.push(self.profile.push(prefix, frame));
        }
        Ok(stacks)
    }

    fn labels(&mut self) -> LabelsId {
        let mut labels = vec![self.profile.text_label(keys::THREAD, &self.thread.name)];
        if let Some(process) = &self.thread.process_name {
            labels.push(self.profile.text_label(keys::PROCESS, process));
        }
        for (key, value) in [(keys::PID, &self.thread.pid), (keys::TID, &self.thread.tid)] {
            if let Some(n) = number(value).filter(|n| *n != 0) {
                labels.push(self.profile.number_label(key, n, ""));
            }
        }
        self.profile.labels(&labels)
    }

    fn samples(&mut self, stacks: &[StackId], scale: f64) -> Result<(), ProfileError> {
        let labels = self.labels();
        let Samples { stack, time_deltas, time, weight, .. } = &self.thread.samples;
        let mut now = 0.0;
        for (i, stack) in stack.iter().enumerate() {
            now += time_deltas.as_ref().and_then(|deltas| deltas.get(i)).unwrap_or(&0.0);
            let time = time.as_ref().and_then(|time| time.get(i)).unwrap_or(&now);
            let Some(stack) = stack else { continue };
            let stack = *stacks.get(*stack).ok_or_else(|| self.missing(format!("stack {stack}")))?;
            let weight =
                weight.as_ref().and_then(|weight| weight.get(i)).map_or(1, |w| (w * scale).round() as i64);
            self.profile.add_at((time * 1e6).round().max(0.0) as u64, stack, labels, &[weight]);
        }
        Ok(())
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
