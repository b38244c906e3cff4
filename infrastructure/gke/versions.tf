# `tofu init` writes .terraform.lock.hcl with the checksums of these; commit it.
terraform {
  required_version = ">= 1.8.0, < 2.0.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "7.45.0"
    }
  }

  # Where the state is, is the platform's own: tofu init -backend-config=bucket=... -backend-config=prefix=...
  backend "gcs" {}
}

provider "google" {
  project = var.project
  region  = var.region

  default_labels = {
    project     = "abserve"
    environment = var.environment
    managed-by  = "opentofu"
  }
}
