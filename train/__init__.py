"""The training programs; they import geoseg, never the other way round."""
