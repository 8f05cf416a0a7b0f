"""Forward hooks that hang for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

Hook = tuple[nn.Module, Callable]  # what it hangs on, what is called


@contextmanager
def hooked(*hooks: Hook, before: Iterable[Hook] = (), with_kwargs: bool = False) -> Iterator[None]:
    """``hooks`` see what their modules return, those of ``before`` what these are called with; then all go.

    A hook of ``before`` runs ahead of those that hang there already, so it sees the inputs as the caller gave
    them. ``with_kwargs``: it takes (module, args, kwargs) in place of (module, args). An exception, inside or
    while hanging, takes down all that hang.
    """
    with ExitStack() as hanging:
        for module, hook in before:
            handle = module.register_forward_pre_hook(hook, prepend=True, with_kwargs=with_kwargs)
            hanging.callback(handle.remove)
        for module, hook in hooks:
            hanging.callback(module.register_forward_hook(hook).remove)
        yield
