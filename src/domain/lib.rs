//! The functional core of Assay.
