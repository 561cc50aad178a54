"""`convey import`: a file of events, however long, posted through the pipeline in the bulk share, resumable."""
