//! Parts: what a floor above keeps once per reactor, because there is no global to keep it in. The reactor knows nothing of
//! them but their type. Not a registry for programs: a program passes its own things where they are needed.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::reactor::Reactor;

/// One value of each type.
#[derive(Default)]
pub(crate) struct Parts(RefCell<BTreeMap<TypeId, Rc<dyn Any>>>);

impl Parts {
    /// Lets go of all of them; a part may hold what holds the reactor.
    pub(crate) fn clear(&self) {
        let parts = std::mem::take(&mut *self.0.borrow_mut());
        drop(parts);
    }
}

impl Reactor {
    /// The reactor's one value of type `T`, made when it is asked for the first time. It goes when the reactor ends.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use ropewalk_reactor::Reactor;
    ///
    /// #[derive(Default)]
    /// struct Dialled(Cell<u64>);
    ///
    /// let reactor = Reactor::new()?;
    /// reactor.part(Dialled::default).0.set(7);
    /// assert_eq!(reactor.clone().part(Dialled::default).0.get(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn part<T: 'static>(&self, make: impl FnOnce() -> T) -> Rc<T> {
        let known = self.0.parts.0.borrow().get(&TypeId::of::<T>()).cloned();
        if let Some(Ok(part)) = known.map(Rc::downcast) {
            return part;
        }
        // Made outside of the borrow: making it may ask for other parts.
        let part = Rc::new(make());
        self.0.parts.0.borrow_mut().insert(TypeId::of::<T>(), Rc::clone(&part) as Rc<dyn Any>);
        part
    }
}
