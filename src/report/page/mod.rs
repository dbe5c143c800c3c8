//! `index.html`: the report as one file that needs no network. `html` fills the template `page.html` and embeds
//! `page.css` and `page.js`; `data` is what the script gets.

mod data;
mod html;

pub use self::html::page;
