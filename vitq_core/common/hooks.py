"""Forward hooks that are removed at the end of a context."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import nn

Hook = tuple[nn.Module, Callable]  # what it hangs on, what is called


@contextmanager
def hooked(*hooks: Hook, before: Iterable[Hook] = (), with_kwargs: bool = False) -> Iterator[None]:
    """Calls ``hooks`` after their modules, with (module, args, output), and those of ``before`` before them.

    The latter take (module, args), or (module, args, kwargs) ``with_kwargs``, and run ahead of the hooks that
    are there already, so they see the inputs as the caller gave them. All are removed at the end, also after
    an exception, be it inside or while they are registered.
    """
    with ExitStack() as hanging:
        for module, hook in before:
            handle = module.register_forward_pre_hook(hook, prepend=True, with_kwargs=with_kwargs)
            hanging.callback(handle.remove)
        for module, hook in hooks:
            hanging.callback(module.register_forward_hook(hook).remove)
        yield
