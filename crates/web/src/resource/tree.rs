//! A tree of resources: children by their names, and the walk from the root to the one that renders.

use std::collections::BTreeMap;
use std::rc::Rc;

use percent_encoding::percent_decode_str;

use super::{Child, Node, Resource};
use crate::answer::Answer;
use crate::request::Request;
use crate::response::Response;
use crate::router::Handler;

/// A resource with children of its own, or only the children. It is a handler: for a [`Site`](crate::Site), or
/// [mounted](crate::Router::mount) in a router.
///
/// Children that were put there go before what the resource's own [`child`](Resource::child) says.
///
/// ```
/// use ropewalk_web::Request;
/// use ropewalk_web::resource::{Render, Resource, Tree};
/// struct Page(&'static str);
/// impl Resource for Page {
///     async fn render_get(&self, _: Request) -> impl Render {
///         self.0
///     }
/// }
/// let tree = Tree::new()
///     .put_child("", Page("at /"))
///     .put_child("about", Page("at /about"))
///     .put_child("news/today", Page("at /news/today"))
///     .put_child("shop", Tree::of(Page("at /shop")).put_child("", Page("at /shop/")));
/// # drop(tree);
/// ```
pub struct Tree(Rc<Branch>);

#[derive(Default)]
struct Branch {
    own: Option<Rc<dyn Node>>,
    children: BTreeMap<String, Tree>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl<R: Resource> From<R> for Tree {
    fn from(resource: R) -> Tree {
        Tree::of(resource)
    }
}

impl Tree {
    /// Nothing yet: 404 everywhere.
    #[must_use]
    pub fn new() -> Tree {
        Tree(Rc::default())
    }

    /// A resource, to give it children.
    pub fn of(resource: impl Resource) -> Tree {
        Tree(Rc::new(Branch { own: Some(Rc::new(resource)), ..Branch::default() }))
    }

    /// Puts a resource or a tree under a name, which is as it reads when decoded; whatever was there before is replaced. A name with
    /// slashes leads through children that are made on the way.
    #[must_use]
    pub fn put_child(self, name: &str, child: impl Into<Tree>) -> Tree {
        self.put(name, child.into())
    }

    fn put(mut self, name: &str, child: Tree) -> Tree {
        // Nobody else has it: it is not served yet, and there is no second handle to a tree.
        let Some(branch) = Rc::get_mut(&mut self.0) else { return self };
        match name.split_once('/') {
            Some((first, rest)) => {
                let below = branch.children.remove(first).unwrap_or_default();
                branch.children.insert(first.to_owned(), below.put(rest, child));
            }
            None => drop(branch.children.insert(name.to_owned(), child)),
        }
        self
    }

    pub(super) fn into_node(self) -> Rc<dyn Node> {
        self.0
    }
}

impl Node for Branch {
    fn render(self: Rc<Self>, request: Request) -> Answer {
        match &self.own {
            Some(own) => Rc::clone(own).render(request),
            None => missing(),
        }
    }

    fn child(&self, name: &str, request: &Request) -> Child {
        match (self.children.get(name), &self.own) {
            (Some(child), _) => Child::Found(Rc::clone(&child.0) as Rc<dyn Node>),
            (None, Some(own)) => own.child(name, request),
            (None, None) => Child::Missing,
        }
    }

    fn is_leaf(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.is_leaf())
    }
}

impl Handler for Tree {
    fn handle(&self, mut request: Request) -> Answer {
        if request.path() == "*" {
            return Answer::Now(Response::empty(204));
        }
        let Some(segments) = segments(request.rest()) else { return missing() };
        request.set_segments(segments);
        let mut node: Rc<dyn Node> = Rc::clone(&self.0) as Rc<dyn Node>;
        while !node.is_leaf() {
            let Some(name) = request.walk() else { break };
            match node.child(&name, &request) {
                Child::Own => {}
                Child::Found(child) => node = child,
                Child::Answer(answer) => return answer,
                Child::Missing => return missing(),
            }
        }
        node.render(request)
    }
}

/// The names in a path, decoded once; none for a path that no name can be made of.
fn segments(path: &str) -> Option<Vec<String>> {
    let Some(path) = path.strip_prefix('/') else { return path.is_empty().then(Vec::new) };
    path.split('/').map(segment).collect()
}

fn segment(text: &str) -> Option<String> {
    let name = percent_decode_str(text).decode_utf8().ok()?;
    // Whoever makes a file's name of it would leave the folder; and what a slash hides was not seen by those who looked before.
    let tricks = matches!(&*name, "." | "..") || name.contains(['/', '\0']);
    (!tricks).then(|| name.into_owned())
}

fn missing() -> Answer {
    Answer::Now(Response::error(404, "there is nothing at this address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once() {
        let names = |path| segments(path).map(|names| names.join("|"));
        assert_eq!(names("").as_deref(), Some(""));
        assert_eq!(segments("/").unwrap(), [""]);
        assert_eq!(names("/a/b").as_deref(), Some("a|b"));
        assert_eq!(segments("/a/").unwrap(), ["a", ""]);
        assert_eq!(names("/a%20b/%C3%BC").as_deref(), Some("a b|ü"));
        assert_eq!(names("/%252e%252e").as_deref(), Some("%2e%2e"));
        assert_eq!(names("/...").as_deref(), Some("..."));
        for trick in ["/..", "/.", "/a/../b", "/%2e%2e", "/%2E", "/.%2e/x", "/a%2fb", "/a%00", "/%ff", "x"] {
            assert_eq!(names(trick), None, "{trick}");
        }
    }
}
