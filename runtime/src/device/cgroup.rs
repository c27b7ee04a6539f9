//! How much memory the control groups of this process leave to it: a container's limit, for one.
//!
//! Reads files below a folder that stands for `/`, and nothing else. Cores need no such reading:
//! `std::thread::available_parallelism` honours the affinity mask, which a group's `cpuset`
//! narrows, and the quotas of both versions (`cpu.max`, `cpu.cfs_quota_us`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use sluicegate_spec::units::Bytes;

/// What the groups of a process allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// The least of all limits.
    pub(super) limit: Bytes,
    /// The least that any of the limits leaves.
    pub(super) free: Bytes,
}

/// The files of one version, by their names in a group's folder.
struct Version {
    /// As `/proc/self/mountinfo` names the file system.
    file_system: &'static str,
    limit: &'static str,
    used: &'static str,
    /// In `memory.stat`: what is cached of files and can be given back at once.
    reclaimable: &'static str,
}

const VERSIONS: [Version; 2] = [
    Version {
        file_system: "cgroup2",
        limit: "memory.max",
        used: "memory.current",
        reclaimable: "inactive_file",
    },
    Version {
        file_system: "cgroup",
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        reclaimable: "total_inactive_file",
    },
];

/// What the memory groups of this process allow it, its own and all above it; none where there is
/// no limit, or nothing can be read.
///
/// `root` stands for `/`.
///
/// Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`.
pub(super) fn memory(root: &Path) -> Option<Allowance> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let (groups, mounts) = (read("proc/self/cgroup")?, read("proc/self/mountinfo")?);
    let folders = VERSIONS.iter().flat_map(|version| {
        let folders = folders(version, &groups, &mounts).into_iter();
        folders.map(move |folder| (version, folder))
    });
    let limits = folders.filter_map(|(version, folder)| {
        let folder = root.join(folder.strip_prefix("/").unwrap_or(&folder));
        version.allowance(&folder)
    });
    limits.reduce(|a, b| Allowance { limit: a.limit.min(b.limit), free: a.free.min(b.free) })
}

impl Version {
    /// What one group allows; `max` and a missing file are no limit.
    fn allowance(&self, folder: &Path) -> Option<Allowance> {
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
        let limit: u64 = number(self.limit)?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let reclaimable = stat.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            if name == self.reclaimable { value.trim().parse().ok() } else { None }
        });
        let used = number(self.used).unwrap_or(0);
        let used = used.saturating_sub(reclaimable.unwrap_or(0));
        Some(Allowance { limit: Bytes(limit), free: Bytes(limit.saturating_sub(used)) })
    }
}

/// The folders of a process's memory group and of all groups above it, as far as they are mounted.
fn folders(version: &Version, groups: &str, mounts: &str) -> Vec<PathBuf> {
    let Some(group) = groups.lines().find_map(|line| version.group(line)) else {
        return Vec::new();
    };
    let Some((mounted, at)) = mounts.lines().find_map(|line| version.mount(line)) else {
        return Vec::new();
    };
    // In a container the group's path may be the host's, of which only the end is mounted.
    let below = Path::new(group).strip_prefix(&mounted).unwrap_or(Path::new(""));
    below.ancestors().map(|path| Path::new(&at).join(path)).collect()
}

impl Version {
    /// The path of a line `4:cpuset,memory:/path`, if it is that of the memory's group.
    fn group<'a>(&self, line: &'a str) -> Option<&'a str> {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_wanted = match self.file_system {
            "cgroup2" => id == "0" && controllers.is_empty(),
            _ => controllers.split(',').any(|name| name == "memory"),
        };
        is_wanted.then_some(path)
    }

    /// Which path is mounted where, if a line of `mountinfo` says so of the memory's groups.
    fn mount(&self, line: &str) -> Option<(String, String)> {
        let (mount, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        if kind.next()? != self.file_system {
            return None;
        }
        // Behind the source: those of the first version name their controllers.
        let has_memory = kind.nth(1).is_some_and(|it| it.split(',').any(|it| it == "memory"));
        if self.file_system == "cgroup" && !has_memory {
            return None;
        }
        let mut paths = mount.split(' ').skip(3);
        Some((unescaped(paths.next()?), unescaped(paths.next()?)))
    }
}

/// Spaces of a path are written `\040` in `mountinfo`.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Writes the files, by their paths below the folder that stands for `/`.
    #[track_caller]
    fn check(files: &[(&str, String)], want: Option<(u64, u64)>) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let want = want
            .map(|(limit, free)| Allowance { limit: Bytes(limit * MIB), free: Bytes(free * MIB) });
        assert_eq!(memory(root.path()), want);
    }

    fn mib(number: u64) -> String {
        format!("{}\n", number * MIB)
    }

    #[test]
    fn a_container_limited_to_420_mib_is_not_planned_beyond_them() {
        let v2 = |group: &str| {
            let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
            vec![
                ("proc/self/cgroup", format!("0::{group}\n")),
                ("proc/self/mountinfo", mounts.to_owned()),
            ]
        };
        // As in a container: its own group is the root that it sees.
        let own = [
            ("sys/fs/cgroup/memory.max", mib(420)),
            ("sys/fs/cgroup/memory.current", mib(100)),
            ("sys/fs/cgroup/memory.stat", format!("anon 5\ninactive_file {}\n", 60 * MIB)),
        ];
        check(&[v2("/"), own.to_vec()].concat(), Some((420, 380)));
        // A service below a slice whose limit is lower.
        let slice = [
            ("sys/fs/cgroup/user.slice/memory.max", mib(300)),
            ("sys/fs/cgroup/user.slice/memory.current", mib(290)),
            ("sys/fs/cgroup/user.slice/a/memory.max", mib(420)),
            ("sys/fs/cgroup/user.slice/a/memory.current", mib(20)),
        ];
        check(&[v2("/user.slice/a"), slice.to_vec()].concat(), Some((300, 10)));
        let free = [("sys/fs/cgroup/user.slice/a/memory.max", "max\n".to_owned())];
        check(&[v2("/user.slice/a"), free.to_vec()].concat(), None);
        // More is used than may be: nothing is free.
        let over =
            [("sys/fs/cgroup/memory.max", mib(10)), ("sys/fs/cgroup/memory.current", mib(11))];
        check(&[v2("/"), over.to_vec()].concat(), Some((10, 0)));
    }

    #[test]
    fn limits_of_the_first_version_count_too() {
        let v1 = |mounted: &str, limit: &str| {
            let mounts = format!(
                "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                 33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                 35 31 0:32 {mounted} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
            );
            let folder = if mounted == "/" { "docker/0f/" } else { "" };
            let path = |name: &str| format!("sys/fs/cgroup/memory/{folder}{name}");
            let files = [
                (
                    "proc/self/cgroup".to_owned(),
                    "9:cpu,cpuacct:/\n4:memory:/docker/0f\n0::/\n".into(),
                ),
                ("proc/self/mountinfo".to_owned(), mounts),
                (path("memory.limit_in_bytes"), limit.to_owned()),
                (path("memory.usage_in_bytes"), mib(50)),
                (path("memory.stat"), format!("inactive_file 1\ntotal_inactive_file {MIB}\n")),
            ];
            files.to_vec()
        };
        for (mounted, limit, want) in [
            ("/", mib(420), Some((420, 371))),
            ("/docker/0f", mib(420), Some((420, 371))),
            ("/", "unlimited\n".to_owned(), None),
        ] {
            let files = v1(mounted, &limit);
            let files: Vec<_> =
                files.iter().map(|(path, text)| (&path[..], text.clone())).collect();
            check(&files, want);
        }
    }

    #[test]
    fn a_system_without_groups_has_no_limit() {
        check(&[], None);
        check(
            &[("proc/self/cgroup", "garbage\n".into()), ("proc/self/mountinfo", String::new())],
            None,
        );
    }
}
