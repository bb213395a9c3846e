// Keeps the page up to date while it is looked at: asks for it again and replaces the parts that have changed.
// A hidden tab asks nothing. Parts that hold the focus of the keyboard or a selection are left until they don't.
'use strict'

const EVERY = 2000
let timer = 0
let asking = false

function inUse (part) {
  const selection = document.getSelection()
  return part.contains(document.activeElement) || (!selection.isCollapsed && part.contains(selection.anchorNode))
}

function update (fresh) {
  for (const part of document.querySelectorAll('[data-live]')) {
    const other = fresh.getElementById(part.id)
    if (!other || inUse(part)) continue
    for (const details of part.querySelectorAll('details[open]')) {
      const same = details.id && other.querySelector(`#${CSS.escape(details.id)}`)
      if (same) same.open = true
    }
    if (other.innerHTML !== part.innerHTML) part.replaceChildren(...other.childNodes)
  }
}

async function look () {
  if (document.hidden || asking) return
  asking = true
  try {
    // Shown with the answer's status in mind: what a form was told stays until the page is left.
    const answer = await fetch(location.href, { headers: { accept: 'text/html' } })
    if (answer.ok) update(new DOMParser().parseFromString(await answer.text(), 'text/html'))
    document.body.classList.remove('away')
  } catch {
    document.body.classList.add('away') // the platform has ended; it may come again
  } finally {
    asking = false
  }
}

function schedule () {
  clearInterval(timer)
  if (!document.hidden) {
    timer = setInterval(look, EVERY)
    look()
  }
}

document.addEventListener('visibilitychange', schedule)
if (!document.hidden) timer = setInterval(look, EVERY)

// On a narrow screen the navigation scrolls: the page that is shown should be seen in it.
document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' })
