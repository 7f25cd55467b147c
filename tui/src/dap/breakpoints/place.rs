//! The place of a breakpoint: the stages of a line, a stage or a function.
use tracepoints::{
    Gate, Hold, StageId,
    catalogue::{STAGES, find},
    gates::{self, Arrival, Names},
    similar,
    sites::{is_end, nearest, of_tikv_function, outer},
    trace::Step,
};

use crate::sites::{self, Site};

/// The place of a breakpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The gates: one for each stage, or the one of the configuration.
    gates: Vec<Gate>,
    /// The line of the stamp, if the breakpoint is of a line.
    site: Option<Site>,
    /// TiKV's function: a stage has another one for some kinds of requests.
    tikv: Option<String>,
}

impl From<Gate> for Place {
    fn from(gate: Gate) -> Self {
        Self { gates: vec![gate], ..Self::default() }
    }
}

impl Place {
    fn from_stages(stages: impl IntoIterator<Item = StageId>) -> Self {
        Self { gates: stages.into_iter().map(Gate::at).collect(), ..Self::default() }
    }

    /// The gates at which the engine must hold: those of stages that are only observed are left out.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(|gate| gate.stage().is_none_or(|stage| stage.stage().hold != Hold::None))
    }

    /// Whether a hold of this reason is one of a gate on a change.
    pub fn is_change(&self, reason: &str) -> bool {
        let changes = |gate: &&Gate| matches!(gate.place, gates::Place::Change(_));
        self.gates.iter().filter(changes).any(|gate| {
            reason.strip_prefix(gate.text()).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
        })
    }

    /// Whether a hold of this reason at a step is one of these gates.
    pub fn is_reason(&self, reason: &str, step: &Step) -> bool {
        self.gates.iter().any(|gate| gate.text() == reason) && self.is_in_function(step)
    }

    /// The line to which the breakpoint moved.
    pub fn line(&self) -> Option<u32> {
        self.site.as_ref().map(|site| site.line)
    }

    /// Describes the place for the client.
    pub fn describe(&self) -> String {
        let stages: Vec<_> = self.gates.iter().filter_map(Gate::stage).collect();
        let names = stages.iter().map(|stage| stage.name()).collect::<Vec<_>>().join(", ");
        let only_observed = stages.iter().filter(|stage| stage.stage().hold == Hold::None);
        let observed: Vec<&str> = only_observed.map(|stage| stage.name()).collect();
        match observed.is_empty() {
            true => format!("stage {names}"),
            false => format!(
                "stage {names}; {} is only observed: a live request is shown there and continues to the next stage that can hold it",
                observed.join(", ")
            ),
        }
    }

    /// Adds a condition. A stage without one of its fields is left out, unless no stage has them all.
    ///
    /// # Errors
    /// If it does not parse, or no stage has its fields.
    pub fn under(self, condition: Option<&str>) -> Result<Self, String> {
        let names = Names { observed: true, ..Names::default() };
        let under = |gate: Gate| gate.under(condition.unwrap_or_default(), &names).map_err(|e| e.to_string());
        let (mut gates, mut refused) = (Vec::new(), None);
        for gate in self.gates {
            match under(gate) {
                Ok(gate) => gates.push(gate),
                // Reports the problem of the function's last stage, whose stamps usually have the most fields.
                Err(problem) => refused = Some(problem),
            }
        }
        match refused.filter(|_| gates.is_empty()) {
            Some(problem) => Err(problem),
            None => Ok(Self { gates, ..self }),
        }
    }

    /// Whether the step passed this place, which has no condition.
    pub fn is_passed_by(&self, step: &Step) -> bool {
        self.accepts(step, &gates::Recorded { step, key: None, timestamps: &gates::Timestamps::default() })
    }

    /// Whether the step is at this place. A condition reads its values from `at`.
    pub fn accepts(&self, step: &Step, at: &impl Arrival) -> bool {
        let Some(stage) = find(&step.stage) else { return false };
        self.gates.iter().any(|gate| gate.accepts(stage.id, &step.file, step.line, at))
            && self.is_in_function(step)
    }

    /// Whether the step is in the line and in TiKV's function of the breakpoint, as far as it names them.
    fn is_in_function(&self, step: &Step) -> bool {
        let in_line = |site: &Site| step.line == site.line && site.is_in(&step.file);
        self.site.as_ref().is_none_or(in_line)
            && self.tikv.as_ref().is_none_or(|name| is_end(&step.tikv, name))
    }
}

/// Finds the stage of a line, or the nearest one of its function.
///
/// # Errors
/// A sentence with the nearest stage of the file, if there is one.
pub fn of_line(path: &str, line: u32) -> Result<Place, String> {
    let Some((name, file)) = sites::of_file(path) else {
        return Err(format!(
            "expected a source file of this engine, found {path}: set breakpoints in the files that `loadedSources` lists"
        ));
    };
    let function = file.function_at(line);
    let sites = file.sites.iter().map(|site| (site.line, site));
    match nearest(sites, line, function.map(|f| &f.lines)) {
        Some(site) => Ok(Place { site: Some(site.clone()), ..Place::from_stages(id_of(site)) }),
        None => {
            let here = function.map_or("this line".into(), |f| format!("the function {}", f.name));
            let other = file.sites.iter().min_by_key(|site| site.line.abs_diff(line));
            let hint = other.map_or_else(
                || format!("{name} has no stage: the view of the path shows the files with stages"),
                |site| format!("the nearest one is {} in line {}", site.stage, site.line),
            );
            Err(format!("expected a stage in {here}, found none; {hint}"))
        }
    }
}

fn id_of(site: &Site) -> Option<StageId> {
    find(site.stage).map(|stage| stage.id)
}

/// Finds the stages by the name of a stage, or of a function of TiKV or of this engine.
///
/// # Errors
/// A sentence with similar names.
pub fn of_function(name: &str) -> Result<Place, String> {
    let name = name.trim();
    if let Some(stage) = find(name) {
        return Ok(Place::from_stages([stage.id]));
    }
    let stages = outer(of_tikv_function(name));
    if !name.is_empty() && !stages.is_empty() {
        return Ok(Place { tikv: Some(name.to_owned()), ..Place::from_stages(stages) });
    }
    let is_own = |site: &&Site| !name.is_empty() && is_end(&site.function, name);
    let stages = outer(sites::sites().filter(is_own).filter_map(id_of));
    if !stages.is_empty() {
        return Ok(Place::from_stages(stages));
    }
    let hint = match similar::names(name, STAGES.iter().map(|s| s.name)).as_slice() {
        [] => "choose a name from the view of the path".to_owned(),
        near => format!("did you mean {}?", near.join(", ")),
    };
    Err(format!("expected a stage or a function such as PointGetter::load_data, found `{name}`; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "engine/storage/src/mvcc/reader/point_getter.rs";

    #[test]
    fn a_line_moves_to_the_nearest_stage_of_its_function() {
        let site = sites::sites().find(|s| s.file == FILE && s.stage == "write_cf_seek").unwrap();
        let exact = of_line(&format!("/home/me/checkout/{FILE}"), site.line).unwrap();
        assert_eq!((exact.line(), exact.describe().as_str()), (Some(site.line), "stage write_cf_seek"));
        assert_eq!(of_line(FILE, site.line - 1).unwrap().line(), Some(site.line));
        let error = of_line(FILE, 1).unwrap_err();
        assert!(
            error.contains("expected a stage in this line") && error.contains("the nearest one is"),
            "{error}"
        );
        assert!(of_line("/etc/passwd", 1).unwrap_err().contains("expected a source file of this engine"));
    }

    #[test]
    fn functions_are_those_of_tikv_and_of_this_engine() {
        let stages = |name| {
            let place = of_function(name).unwrap();
            place.gates.iter().map(|gate| gate.text().to_owned()).collect::<Vec<_>>()
        };
        assert!(stages("PointGetter::load_data").contains(&"write_cf_seek".to_owned()));
        assert!(stages("KvService::serve").contains(&"grpc_receive".to_owned()));
        assert_eq!(stages("MVCC_get"), ["mvcc_get"]);
        for bad in ["", "::", "etter::load_data", "lock_cf"] {
            assert!(of_function(bad).unwrap_err().starts_with("expected a stage or a function"), "{bad}");
        }
        assert!(of_function("lock_cf").unwrap_err().contains("lock_cf_get"));
    }

    /// The stamps of the engine are in this program only with the embedded cluster.
    #[cfg(feature = "embedded")]
    #[test]
    fn a_condition_leaves_out_the_stages_without_its_fields() {
        let place = of_function("PointGetter::load_data").unwrap();
        let under = |condition| place.clone().under(Some(condition));
        let texts = |place: Place| place.gates.iter().map(|g| g.text().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            texts(under("commit_ts > ts1 and write_type == Put").unwrap()),
            ["write_cf_found if commit_ts > ts1 and write_type == Put"]
        );
        assert_eq!(under("").unwrap(), place);
        for (bad, expected) in [
            ("comit_ts > ts1", "found `comit_ts`; its fields are"),
            ("commit_ts >", "found the end"),
            ("== 2", "found `==`"),
            ("commit_ts == 1 and", "found the end"),
        ] {
            assert!(under(bad).unwrap_err().contains(expected), "{bad}: {:?}", under(bad));
        }
    }
}
