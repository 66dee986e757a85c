//! Giving up root: done once, between binding and starting. nix's calls are libc's, which change every thread of the process.

use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, setgroups, setresgid, setresuid};

use crate::service::StartError;

/// Who the program becomes when it has bound what it listens at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// A user by name or number; its groups become the program's.
    pub user: Option<String>,
    /// A group by name or number, instead of the user's own.
    pub group: Option<String>,
}

/// Users and groups by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lower {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    groups: Option<Vec<u32>>,
}

impl Privileges {
    /// Looks the names up; nothing is changed yet.
    pub(crate) fn look_up(&self) -> Result<Option<Lower>, StartError> {
        if *self == Privileges::default() {
            return Ok(None);
        }
        let user = self.user.as_deref().map(find_user).transpose()?;
        let group = match (&self.group, &user) {
            (Some(group), _) => Some(find_group(group)?),
            (None, Some((_, own, _))) => *own,
            (None, None) => None,
        };
        let groups = match &user {
            Some((_, _, Some(name))) => Some(groups_of(name, group)?),
            _ => group.map(|group| vec![group]),
        };
        Ok(Some(Lower { user: user.map(|(user, _, _)| user), group, groups }))
    }
}

impl Lower {
    /// Becomes them, for good: the saved ids change as well, and it is tried whether root comes back.
    pub(crate) fn become_it(&self) -> Result<(), StartError> {
        let refused = |error: nix::Error| {
            StartError::new(format!(
                "the privileges cannot be given up: {error}; --user and --group are for root"
            ))
        };
        if self.is_already() {
            // The process before this one has given them up, and could only start one of its own kind.
            return Ok(());
        }
        if let Some(groups) = &self.groups {
            let groups: Vec<Gid> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
            setgroups(&groups).map_err(refused)?;
        }
        if let Some(group) = self.group.map(Gid::from_raw) {
            setresgid(group, group, group).map_err(refused)?;
        }
        if let Some(user) = self.user.map(Uid::from_raw) {
            setresuid(user, user, user).map_err(refused)?;
            let root = Uid::from_raw(0);
            if !user.is_root() && setresuid(root, root, root).is_ok() {
                return Err(StartError::new("the privileges came back after they were given up"));
            }
        }
        Ok(())
    }
}

impl Lower {
    fn is_already(&self) -> bool {
        let (user, group) = (Uid::effective().as_raw(), Gid::effective().as_raw());
        user != 0
            && self.user.is_none_or(|wanted| wanted == user)
            && self.group.is_none_or(|wanted| wanted == group)
    }

    /// Gives a file of the program to them; it fails where they are what the program is already.
    pub(crate) fn own(&self, path: &Path) {
        let _ = std::os::unix::fs::chown(path, self.user, self.group);
    }
}

fn find_user(text: &str) -> Result<(u32, Option<u32>, Option<String>), StartError> {
    let found = match text.parse::<u32>() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(text),
    };
    match (found, text.parse::<u32>()) {
        (Ok(Some(user)), _) => Ok((user.uid.as_raw(), Some(user.gid.as_raw()), Some(user.name))),
        (_, Ok(number)) => Ok((number, None, None)),
        _ => Err(StartError::new(format!("--user {text}: there is no such user"))),
    }
}

fn find_group(text: &str) -> Result<u32, StartError> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(StartError::new(format!("--group {text}: there is no such group"))),
    }
}

fn groups_of(name: &str, group: Option<u32>) -> Result<Vec<u32>, StartError> {
    let Some(group) = group else { return Ok(Vec::new()) };
    let name = std::ffi::CString::new(name).map_err(StartError::new)?;
    let groups = nix::unistd::getgrouplist(&name, Gid::from_raw(group)).map_err(StartError::new)?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_wrong_ones_refused() {
        let of = |user: &str, group: Option<&str>| Privileges {
            user: (!user.is_empty()).then(|| user.to_owned()),
            group: group.map(str::to_owned),
        };
        assert_eq!(of("", None).look_up().unwrap(), None);
        let root = of("root", None).look_up().unwrap().unwrap();
        assert_eq!((root.user, root.group), (Some(0), Some(0)));
        let plain = of("4242", Some("4243")).look_up().unwrap().unwrap();
        assert_eq!((plain.user, plain.group, plain.groups), (Some(4242), Some(4243), Some(vec![4243])));
        assert!(of("no-such-user", None).look_up().unwrap_err().to_string().contains("--user no-such-user"));
        assert!(of("0", Some("no-such-group")).look_up().unwrap_err().to_string().contains("--group"));
    }
}
