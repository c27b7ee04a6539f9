//! Pairs of flags that exclude each other, each pair as one value.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// `--chat` or `--raw`: the kind of a prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PromptForm {
    /// A message if the model has a chat template, else text.
    #[default]
    Auto,
    /// The user's message of a conversation.
    Chat,
    /// Text to be continued.
    Raw,
}

/// `--stream` or `--no-stream`: when text is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Streaming {
    /// As it is generated if there is a single output, else when all are complete.
    #[default]
    Auto,
    /// As it is generated.
    On,
    /// When it is complete.
    Off,
}

/// `--toml` or `--json`: how the devices are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DevicesForm {
    /// For people.
    #[default]
    Table,
    /// As a cluster file.
    Toml,
    /// All facts, and the cluster.
    Json,
}

/// A value that is set by two flags.
trait Switch: Copy + Default {
    /// Name, help and value of each flag.
    const FLAGS: [(&'static str, &'static str, Self); 2];

    fn read(matches: &ArgMatches) -> Self {
        let is_set = |(name, _, _): &(&'static str, &'static str, Self)| matches.get_flag(name);
        Self::FLAGS.into_iter().find(is_set).map_or_else(Self::default, |(_, _, value)| value)
    }

    fn augment(command: Command) -> Command {
        let [first, second] = Self::FLAGS;
        let flag = |(name, help, _): (&'static str, &'static str, Self)| {
            Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
        };
        command.arg(flag(first).conflicts_with(second.0)).arg(flag(second))
    }
}

impl Switch for PromptForm {
    const FLAGS: [(&'static str, &'static str, Self); 2] = [
        (
            "chat",
            "Send each prompt as a user's message, through the model's chat template [default \
             if the model has one]",
            Self::Chat,
        ),
        ("raw", "Continue each prompt as it is, without a chat template", Self::Raw),
    ];
}

impl Switch for Streaming {
    const FLAGS: [(&'static str, &'static str, Self); 2] = [
        ("stream", "Print text as it is generated [default for a single output]", Self::On),
        ("no-stream", "Print text when it is complete", Self::Off),
    ];
}

impl Switch for DevicesForm {
    const FLAGS: [(&'static str, &'static str, Self); 2] = [
        (
            "toml",
            "Print a cluster file, for plan --cluster: the GPUs with what is free of their \
             memory, or the logical CPU devices if there is no GPU",
            Self::Toml,
        ),
        ("json", "Print one JSON object with all facts, and the cluster", Self::Json),
    ];
}

macro_rules! args_by_switch {
    ($($switch:ty),*) => {$(
        impl FromArgMatches for $switch {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self::read(matches))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::read(matches);
                Ok(())
            }
        }

        impl Args for $switch {
            fn augment_args(command: Command) -> Command {
                Self::augment(command)
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment(command)
            }
        }
    )*};
}

args_by_switch!(PromptForm, Streaming, DevicesForm);
