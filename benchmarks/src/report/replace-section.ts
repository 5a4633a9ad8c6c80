/** Puts `text` between two marks of a document. @throws Error if the document lacks the marks */
export function replaceSection(
  document: string,
  marks: { readonly begin: string; readonly end: string },
  text: string,
): string {
  const start = document.indexOf(marks.begin);
  const end = document.indexOf(marks.end);
  if (start === -1 || end < start) {
    throw new Error(`no '${marks.begin}' ... '${marks.end}' in the document`);
  }
  return `${document.slice(0, start)}${marks.begin}\n\n${text}\n\n${document.slice(end)}`;
}
