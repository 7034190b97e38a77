// Three hooks with the meaning that they have in React, as far as one component without a page needs them.

let slots = [];
let next = 0;
let render = () => {};

const same = (one, other) => one?.length === other?.length && one?.every((value, i) => Object.is(value, other[i]));

export function useState(initial) {
  const slot = (slots[next++] ??= { value: initial });
  const set = (value) => {
    if (Object.is(value, slot.value)) return;
    slot.value = value;
    queueMicrotask(render);
  };
  return [slot.value, set];
}

export function useCallback(callback, dependencies) {
  const slot = (slots[next++] ??= {});
  if (!same(slot.dependencies, dependencies)) Object.assign(slot, { callback, dependencies });
  return slot.callback;
}

export function useEffect(effect, dependencies) {
  const slot = (slots[next++] ??= {});
  slot.due = same(slot.dependencies, dependencies) ? undefined : effect;
  slot.dependencies = dependencies;
}

// Render a component now and whenever its state changes; returns a function that unmounts it.
export function mount(component) {
  slots = [];
  render = () => {
    next = 0;
    component();
    for (const slot of slots.filter((slot) => slot.due)) {
      slot.cleanup?.();
      slot.cleanup = slot.due();
      slot.due = undefined;
    }
  };
  render();
  return () => {
    render = () => {};
    slots.forEach((slot) => slot.cleanup?.());
  };
}
