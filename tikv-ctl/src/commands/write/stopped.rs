//! Changes of a store whose server is stopped.
use crate::{
    Error, Offline, Result,
    cli::Global,
    commands::{
        apply::{WriteOptions, show_or_apply},
        open::open_offline,
    },
    print::output::Output,
    source::Source,
    write::plan::Plan,
};

/// The name of a command, and TiKV's message of its success.
pub struct Name {
    pub command: &'static str,
    pub done: &'static str,
}

/// Plans changes of the store in `--data-dir` with `plan`, and shows or applies them.
pub fn change_store(
    name: &Name,
    how: &WriteOptions,
    global: &Global,
    out: &mut Output<'_>,
    plan: impl FnOnce(&Offline, &mut Output<'_>) -> Result<Plan>,
) -> Result<()> {
    refuse_host(global)?;
    let store = open_offline(global, out)?;
    let mut plan = plan(&store, out)?;
    plan.place(&store)?;
    refuse_damage(&store, out)?;
    drop(store);
    show_or_apply(name.command, how, &plan, name.done, global, out)
}

/// Fails if `--host` is given.
pub fn refuse_host(global: &Global) -> Result<()> {
    match global.host {
        Some(_) => Err(Error::Tikv("This command is only for local mode".to_owned())),
        None => Ok(()),
    }
}

/// Fails if data that the plan depends on could not be read: an older version may have been used in its
/// place.
fn refuse_damage(store: &Offline, out: &mut Output<'_>) -> Result<()> {
    store.damages().iter().for_each(|damage| out.note(damage));
    // `unread` leaves out damage of the MANIFEST and logs: a server would continue without that data, too.
    let damages = store.unread();
    if damages.is_empty() {
        return Ok(());
    }
    Err(Error::other(format!(
        "refusing to write: damaged places, listed above, in data that this command must read: {}; its changes could \
         be wrong: remove the damaged SSTs first (`bad-ssts` prints the commands), or restore them; nothing was \
         changed",
        damages.len()
    )))
}

/// Returns the data-key ranges of the regions; a missing region becomes an error of the plan.
pub fn ranges(store: &Offline, regions: &[u64], plan: &mut Plan) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut ranges = Vec::new();
    for id in regions {
        let state = store.region_info(*id).ok().and_then(|info| info.region_local_state);
        match state.and_then(|state| state.region) {
            Some(region) => ranges.push((keys::enc_start_key(&region), keys::enc_end_key(&region))),
            None => plan.errors.push((*id, format!("region {id} is not on this store"))),
        }
    }
    ranges
}

/// Returns the error of a region that PD does not have.
pub fn not_in_pd(region: u64) -> Error {
    Error::Tikv(format!("no such region in pd: {region}"))
}
