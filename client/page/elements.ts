/** The elements that the page's HTML has, by id. */

/** Throws if the page has no such element: the HTML and the code come from one build. */
export function byId<T extends Element>(id: string, type: abstract new () => T): T {
  const element = document.getElementById(id);
  if (element instanceof type) return element;
  throw new Error(`the page has no ${type.name} with the id ${id}`);
}
