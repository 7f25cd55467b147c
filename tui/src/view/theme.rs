//! Styles: only the terminal's 16 colours and modifiers, no backgrounds, readable on light and dark terminals.
use ratatui::style::{Color, Modifier, Style};

use crate::state::highlight::Class;

/// The styles of the screen, with or without colours.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    color: bool,
}

impl Theme {
    /// Styles with or without colours.
    pub fn new(color: bool) -> Self {
        Self { color }
    }

    /// Whether to use colours: not if NO_COLOR is set and not empty.
    pub fn wanted() -> bool {
        std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
    }

    fn fg(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }

    /// Ordinary text.
    pub fn plain(self) -> Style {
        Style::new()
    }

    /// Text of less importance.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Titles, and the pane with the focus.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The row or line of the cursor.
    pub fn current(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The current line of the source, and the current step.
    pub fn here(self) -> Style {
        self.fg(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// A held request.
    pub fn held(self) -> Style {
        self.fg(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// A stage with a gate.
    pub fn gate(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Steps on the critical path.
    pub fn critical(self) -> Style {
        self.fg(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// An operation that runs or has ended well.
    pub fn good(self) -> Style {
        self.fg(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// A failure.
    pub fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Changes since the previous step.
    pub fn changed(self) -> Style {
        self.fg(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// The leader, or the version that the read returns.
    pub fn marked(self) -> Style {
        self.fg(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// Matches of the search.
    pub fn found(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// Keys in the help and in hints.
    pub fn key(self) -> Style {
        self.fg(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// A layer's colour, for bars.
    pub fn layer(self, layer: &str) -> Style {
        self.fg(match layer {
            "client" | "pd" => Color::Blue,
            "grpc" => Color::Cyan,
            "storage" | "scheduler" => Color::Green,
            "mvcc" => Color::Magenta,
            "raftkv" | "raftstore" => Color::Yellow,
            "apply" | "rocksdb" => Color::Red,
            _ => Color::Reset,
        })
    }

    /// The colour of a stage's class.
    pub fn class(self, class: Option<tracepoints::Class>) -> Style {
        use tracepoints::Class::{Backoff, Fsync, Latch, Lease, Lock, Network, Queue, Quorum, Work};
        match class {
            Some(Work) => self.fg(Color::Green),
            Some(Queue | Backoff) => self.fg(Color::Yellow),
            Some(Latch | Lock) => self.fg(Color::Magenta),
            Some(Lease | Quorum) => self.fg(Color::Cyan),
            Some(Fsync) => self.fg(Color::Red),
            Some(Network) => self.fg(Color::Blue),
            None => Style::new(),
        }
    }

    /// More time than in the previous operation.
    pub fn grew(self) -> Style {
        self.fg(Color::Red)
    }

    /// Less time than in the previous operation.
    pub fn shrank(self) -> Style {
        self.fg(Color::Blue)
    }

    /// A piece of source of this class.
    pub fn code(self, class: Class) -> Style {
        match class {
            Class::Plain => Style::new(),
            Class::Comment => self.dim().add_modifier(Modifier::ITALIC),
            Class::Text => self.fg(Color::Green),
            Class::Number | Class::Lifetime => self.fg(Color::Magenta),
            Class::Keyword => self.fg(Color::Blue).add_modifier(Modifier::BOLD),
            Class::Type => self.fg(Color::Cyan),
            Class::Function => self.strong(),
            Class::Macro => self.fg(Color::Red),
        }
    }
}
