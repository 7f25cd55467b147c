//! Recipes, scenario files and single operations on the embedded cluster.
#[cfg(feature = "embedded")]
mod here {
    use std::path::{Path, PathBuf};

    use anyhow::{Result, bail};
    use recipes::{
        Scenario,
        directive::{self, is_stepped},
        library,
    };

    use crate::{
        source::embedded::Embedded,
        state::{Start, StepSource},
    };

    /// Directives before an operation that names none: a value to read.
    const SETUP: &[&str] = &["put k1 v1"];

    /// Checks a recipe or a scenario file, and that a step is in the line.
    pub fn check(name: &str, line: usize) -> Result<()> {
        let scenario = library::find(name)?;
        directive::check(&scenario)?;
        skipped(&scenario, line).map(drop)
    }

    /// Checks an operation and the directives before it.
    pub fn check_text(operation: &str, setup: Option<&[String]>) -> Result<()> {
        Ok(directive::check(&scenario(operation, setup)?)?)
    }

    /// Starts a recipe or a scenario file.
    pub fn start(
        name: &str,
        line: usize,
        data: Option<PathBuf>,
        start: Start,
    ) -> Result<(Box<dyn StepSource>, usize)> {
        let scenario = library::find(name)?;
        let skip = skipped(&scenario, line)?;
        Ok((Box::new(Embedded::run(scenario, data, start)?), skip))
    }

    /// Starts one operation.
    pub fn start_text(
        operation: &str,
        setup: Option<&[String]>,
        data: Option<PathBuf>,
        start: Start,
    ) -> Result<Box<dyn StepSource>> {
        Ok(Box::new(Embedded::run(scenario(operation, setup)?, data, start)?))
    }

    /// Number of steps before the one in this line; line 0: none.
    fn skipped(scenario: &Scenario, line: usize) -> Result<usize> {
        if line == 0 {
            return Ok(0);
        }
        let lines: Vec<usize> = scenario.blocks.iter().filter(|b| is_stepped(b)).map(|b| b.line).collect();
        match lines.iter().position(|l| *l == line) {
            Some(n) => Ok(n),
            None => bail!(
                "{}:{line}: expected a `step` or `hold`, found another line: they are in the lines {lines:?}",
                scenario.path.display()
            ),
        }
    }

    fn scenario(operation: &str, setup: Option<&[String]>) -> Result<Scenario> {
        let setup: Vec<&str> = setup.map_or(SETUP.to_vec(), |s| s.iter().map(String::as_str).collect());
        let mut text = "title: One operation\n\ncluster stores=3\n----\n".to_owned();
        setup.iter().for_each(|directive| text.push_str(&format!("\n{directive}\n----\n")));
        text.push_str(&format!("\nstep {operation}\n----\n"));
        Ok(Scenario::parse(Path::new("operation.txt"), &text)?)
    }
}

#[cfg(not(feature = "embedded"))]
mod here {
    use std::path::PathBuf;

    use anyhow::{Result, bail};

    use crate::state::{Start, StepSource};

    const ABSENT: &str = "this program was built without the embedded cluster: build it with the feature `embedded`, or attach to a server";

    pub fn check(_: &str, _: usize) -> Result<()> {
        bail!(ABSENT)
    }

    pub fn check_text(_: &str, _: Option<&[String]>) -> Result<()> {
        bail!(ABSENT)
    }

    pub fn start(_: &str, _: usize, _: Option<PathBuf>, _: Start) -> Result<(Box<dyn StepSource>, usize)> {
        bail!(ABSENT)
    }

    pub fn start_text(
        _: &str,
        _: Option<&[String]>,
        _: Option<PathBuf>,
        _: Start,
    ) -> Result<Box<dyn StepSource>> {
        bail!(ABSENT)
    }
}

pub use here::{check, check_text, start, start_text};
