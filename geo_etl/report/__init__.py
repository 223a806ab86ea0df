"""Result documents and pictures: what a person sees of a job. Here: documents from plain facts."""
