//! What Postfix and Sendmail do, case by case: each row of rua-milter-mta(7) is a test behind
//! either of them, and the page must say what came of it.

mod rows;
mod site;
