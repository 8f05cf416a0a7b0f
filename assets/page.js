() => {
  // What Gradio's own components lack for keyboards, screen readers and phones. Runs once, when the page is there.
  const all = (selector) => document.querySelectorAll(selector);
  const words = (element) => element?.textContent.trim() ?? '';
  const set = (element, name, value) => {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  };

  // Gradio names every radio differently, so that each is a Tab stop and arrow keys do nothing. With one name
  // the browser makes them a group. `label`: what a screen reader calls it.
  const groupRadios = () => {
    for (const group of all('fieldset:has(input[type=radio])')) {
      group.dataset.radios ||= `vq-radios-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
      for (const radio of group.querySelectorAll('input[type=radio]')) set(radio, 'name', group.dataset.radios);
      set(group, 'role', 'radiogroup');
      set(group, 'aria-label', words(group.querySelector('[data-testid=block-info]')));
    }
  };

  // A name has to begin with the words that are seen, or those who speak to their computer cannot press it.
  // Dozens of pictures are one stop, too: the one that had the focus last.
  const groupPictures = () => {
    for (const grid of all('.grid-container')) {
      const pictures = [...grid.querySelectorAll('.thumbnail-item')];
      const stop = pictures.find((picture) => picture.tabIndex === 0 && picture.hasAttribute('tabindex')) ?? pictures[0];
      pictures.forEach((picture, place) => {
        const name = words(picture.querySelector('.caption-label')) || picture.querySelector('img')?.alt || 'Picture';
        set(picture, 'aria-label', `${name}, ${place + 1} of ${pictures.length}`);
        set(picture, 'tabindex', picture === stop ? '0' : '-1');
      });
      set(grid, 'role', 'toolbar');
      set(grid, 'aria-label', 'Pictures');
    }
  };
  const STEPS = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity};
  document.addEventListener('keydown', (event) => {
    const grid = event.target.closest('.thumbnail-item')?.closest('.grid-container');
    if (!grid || event.altKey || event.ctrlKey || event.metaKey) return;
    const pictures = [...grid.querySelectorAll('.thumbnail-item')];
    const height = (picture) => Math.round(picture.getBoundingClientRect().top);
    const columns = pictures.filter((picture) => height(picture) === height(pictures[0])).length;
    const step = {...STEPS, ArrowUp: -columns, ArrowDown: columns}[event.key];
    if (!step) return;
    event.preventDefault();
    pictures[Math.min(Math.max(pictures.indexOf(event.target) + step, 0), pictures.length - 1)].focus();
  });
  document.addEventListener('focusin', ({target}) => {
    const grid = target.closest('.thumbnail-item')?.closest('.grid-container');
    for (const picture of grid?.querySelectorAll('.thumbnail-item') ?? []) picture.tabIndex = picture === target ? 0 : -1;
  });

  // The same of the places to drop a picture, and of a picture that is clicked on.
  const namePlaces = () => {
    for (const place of all('button[aria-dropeffect]')) if (words(place)) set(place, 'aria-label', words(place));
    for (const place of all('.image-container > button:not([aria-label])')) set(place, 'aria-label', 'The picture');
  };

  // Only what has a role may have a name of its own.
  const giveRoles = () => {
    for (const nameless of all('.empty[aria-label], .wrapper[aria-label="Static column"]')) set(nameless, 'role', 'img');
  };

  // A button that is pressed is disabled while its run lasts, and the focus would be lost with it. Its row
  // takes it meanwhile: Enter does nothing there, and Tab goes on to Cancel. Afterwards it goes back.
  let pressed = null;
  const keepFocus = () => {
    const row = pressed?.closest('.vq-actions'), kept = pressed;
    if (!row || ![document.body, row, pressed].includes(document.activeElement)) return;
    if (!row.hasAttribute('tabindex')) {
      row.tabIndex = -1;
      set(row, 'role', 'group');
      set(row, 'aria-label', words(row.querySelector('button')));
    }
    const next = pressed.disabled ? row.querySelector('button.primary:not(:disabled)') ?? row : pressed;
    if (next !== document.activeElement) next.focus({preventScroll: true});
    pressed = next === row ? kept : next;
  };
  document.addEventListener('focusin', ({target}) => {
    if (!target.matches('.vq-actions')) pressed = target.matches('.vq-actions button') ? target : null;
  });
  document.addEventListener('focusout', ({target}) => {
    if (document.hasFocus() && !target.disabled) pressed = null; // who looks elsewhere is not called back
  });

  // Gradio takes Tab for typing, and opens the list again that losing the focus has closed. A long list would
  // be a stop itself, and take the focus with it when it closes.
  document.addEventListener('keydown', (event) => {
    const leaves = event.key === 'Tab' || event.key === 'Shift';
    if (!leaves || !event.target.matches('input[role=combobox]')) return;
    event.stopPropagation();
    for (const list of all('[role=listbox]')) list.tabIndex = -1;
  }, true);

  // On a phone the answer to a picture lies below all pictures.
  const ANSWERS = {
    gallery: ['#verdict', '#bars'],
    photographs: ['#verdict', '#bars'],
    'segment-gallery': ['#segment-canvas', '#segment-canvas'],
  };
  document.addEventListener('click', ({target}) => {
    const gallery = target.closest('.thumbnail-item')?.closest(Object.keys(ANSWERS).map((id) => `#${id}`).join());
    if (!gallery) return;
    const [first, last] = ANSWERS[gallery.id].map((selector) => document.querySelector(selector));
    const seen = first.getBoundingClientRect().top >= 0 && last.getBoundingClientRect().bottom <= innerHeight;
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    if (!seen) first.scrollIntoView({behavior: calm ? 'auto' : 'smooth', block: 'center'});
  });

  // What is only another view of the same stands open on a wide screen, and closed on a phone.
  const closeSecondary = () => {
    for (const part of all('.vq-secondary:not([data-met])')) {
      part.dataset.met = 'yes';
      if (innerWidth <= 640) part.querySelector('.label-wrap.open')?.click();
    }
  };

  // A plot that was drawn while it was folded away has the width of nothing that is on the page.
  document.addEventListener('click', ({target}) => {
    if (target.closest('.label-wrap')) setTimeout(() => dispatchEvent(new Event('resize')), 100);
  });

  let asked = false;
  const mend = () => {
    asked = false;
    closeSecondary();
    groupRadios();
    groupPictures();
    namePlaces();
    giveRoles();
    keepFocus();
  };
  const ask = () => {
    if (!asked) asked = Boolean(setTimeout(mend, 30));
  };
  mend();
  new MutationObserver(ask).observe(document.body, {
    childList: true, subtree: true, characterData: true, attributeFilter: ['disabled', 'aria-label'],
  });
}
