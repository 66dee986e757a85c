//! Resources: a site as a tree of objects, as in twisted.web. A path is walked segment by segment, from child to child, and the
//! resource at its end renders the request by the method that is named like it.
//!
//! ```text
//!  /shop/cart      root ── child "shop" ── child "cart" ── render_get
//!  /shop/          root ── child "shop" ── child "" ────── render_get        (the slash at the end is a child with no name)
//! ```
//!
//! ```
//! use std::cell::RefCell;
//! use ropewalk_web::resource::{Child, Render, Resource, Tree};
//! use ropewalk_web::{Failure, Request, Site};
//!
//! #[derive(Default)]
//! struct Guestbook(RefCell<Vec<String>>);
//!
//! impl Resource for Guestbook {
//!     async fn render_get(&self, _: Request) -> impl Render {
//!         self.0.borrow().join("\n")
//!     }
//!
//!     async fn render_post(&self, request: Request) -> impl Render {
//!         let entry = request.text().await?;
//!         self.0.borrow_mut().push(entry);
//!         Ok::<_, Failure>((201, "thank you"))
//!     }
//!
//!     fn child(&self, name: &str, _: &Request) -> Child {
//!         match name.parse::<usize>().ok().and_then(|index| self.0.borrow().get(index).cloned()) {
//!             Some(entry) => Child::answer(entry),
//!             None => Child::Missing,
//!         }
//!     }
//! }
//! let site = Site::new(Tree::new().put_child("guests", Guestbook::default()));
//! # drop(site);
//! ```
//!
//! `HEAD` goes to `render_get`; `OPTIONS`, and the 405 to methods that are not there, name those that are. For that the methods are
//! called and what they return is dropped, so whoever writes one as a plain function, and not as an `async fn`, does nothing before
//! its future is awaited.

mod tree;

use std::cell::Cell;
use std::future::{Future, ready};
use std::rc::Rc;

use crate::answer::{Answer, IntoAnswer, IntoResponse};
use crate::request::Request;
use crate::router;

pub use tree::Tree;

/// What a method of a resource comes to: whatever a handler may return, but futures, which are awaited instead. `()` when a responder
/// answers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a resource renders",
    note = "it is what implements `IntoResponse`, or `()` when a responder answers; futures are awaited in the method"
)]
pub trait Render {
    /// The answer.
    fn render(self) -> Answer;
}

impl<T: IntoResponse> Render for T {
    fn render(self) -> Answer {
        Answer::Now(self.into_response())
    }
}

impl Render for () {
    fn render(self) -> Answer {
        Answer::Taken
    }
}

impl<E: IntoResponse> Render for Result<(), E> {
    fn render(self) -> Answer {
        self.into_answer()
    }
}

impl Render for Answer {
    fn render(self) -> Answer {
        self
    }
}

/// What is below a resource, under a name.
pub enum Child {
    /// Nothing: 404.
    Missing,
    /// The resource itself, once more.
    Own,
    /// A resource.
    Found(Rc<dyn Node>),
    /// No resource, but an answer, whatever the method: a redirect, a refusal.
    Answer(Answer),
}

impl Child {
    /// A resource, or a tree.
    pub fn of(node: impl Into<Tree>) -> Child {
        Child::Found(node.into().into_node())
    }

    /// An answer.
    pub fn answer<M>(answer: impl IntoAnswer<M>) -> Child {
        Child::Answer(answer.into_answer())
    }
}

macro_rules! render_methods {
    ($($(#[$doc:meta])* $name:ident $method:literal,)*) => {
        /// Something that has an address. The methods of it that are written here are those that it takes.
        pub trait Resource: 'static {
            $($(#[$doc])*
            fn $name(&self, request: Request) -> impl Future<Output = impl Render> {
                request.mark_unimplemented();
                ready(())
            })*

            /// What is below it. Asked for names that are not among the [children of a tree](Tree::put_child); the name is one
            /// segment of the path, decoded once, and empty behind a slash at the end. It never has a slash or a NUL in it, is never
            /// `.` or `..`, and always UTF-8: such paths are answered with 404 before anybody sees them. Of a name that begins with a
            /// dot, or has a backslash in it, the resource makes what it will.
            fn child(&self, name: &str, request: &Request) -> Child {
                let _ = (name, request);
                Child::Missing
            }

            /// Whether it takes everything that is below it, and renders with what is left in [`Request::postpath`].
            fn is_leaf(&self) -> bool {
                false
            }

            /// Renders a request, whatever its method. Unless it is written anew, it calls the methods above.
            fn render(self: Rc<Self>, request: Request) -> Answer
            where
                Self: Sized,
            {
                Answer::Later(Box::pin(dispatch(self, request)))
            }
        }

        /// Calls a method by its name; none when it is not implemented.
        async fn call<R: Resource>(resource: &R, method: &str, mut request: Request) -> Option<Answer> {
            let mark = Rc::new(Cell::new(false));
            request.scope_mut().unimplemented = Some(Rc::clone(&mark));
            match method {
                $($method => {
                    let future = resource.$name(request);
                    if mark.get() { None } else { Some(future.await.render()) }
                })*
                _ => None,
            }
        }

        /// The methods that are implemented.
        fn implemented<R: Resource>(resource: &R, request: &Request) -> Vec<&'static str> {
            let mut methods = Vec::new();
            $({
                let (mark, mut again) = (Rc::new(Cell::new(false)), request.again());
                again.scope_mut().unimplemented = Some(Rc::clone(&mark));
                drop(resource.$name(again));
                if !mark.get() {
                    methods.push($method);
                }
            })*
            methods
        }
    };
}

render_methods! {
    /// Renders `GET`, and `HEAD` where there is no `render_head`.
    render_get "GET",
    /// Renders `HEAD`. The body of what it returns is not sent, and its length is.
    render_head "HEAD",
    /// Renders `POST`.
    render_post "POST",
    /// Renders `PUT`.
    render_put "PUT",
    /// Renders `DELETE`.
    render_delete "DELETE",
    /// Renders `PATCH`.
    render_patch "PATCH",
    /// Renders `OPTIONS`, which otherwise is a 204 with `Allow`.
    render_options "OPTIONS",
}

async fn dispatch<R: Resource>(resource: Rc<R>, request: Request) -> Answer {
    let method = request.method().to_owned();
    if let Some(answer) = call(&*resource, &method, request.again()).await {
        return answer;
    }
    if method == "HEAD"
        && let Some(answer) = call(&*resource, "GET", request.again()).await
    {
        return answer;
    }
    let methods = implemented(&*resource, &request);
    router::refuse(request, router::allowed(methods.into_iter()), None)
}

/// A resource of whatever type.
pub trait Node: 'static {
    /// See [`Resource::render`].
    fn render(self: Rc<Self>, request: Request) -> Answer;
    /// See [`Resource::child`].
    fn child(&self, name: &str, request: &Request) -> Child;
    /// See [`Resource::is_leaf`].
    fn is_leaf(&self) -> bool;
}

impl<R: Resource> Node for R {
    fn render(self: Rc<Self>, request: Request) -> Answer {
        Resource::render(self, request)
    }

    fn child(&self, name: &str, request: &Request) -> Child {
        Resource::child(self, name, request)
    }

    fn is_leaf(&self) -> bool {
        Resource::is_leaf(self)
    }
}
