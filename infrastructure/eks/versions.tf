# `tofu init` writes .terraform.lock.hcl with the checksums of these; commit it.
terraform {
  required_version = ">= 1.8.0, < 2.0.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "6.28.0"
    }
  }

  # Where the state is, is the platform's own: tofu init -backend-config=bucket=... -backend-config=key=...
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      project     = "abserve"
      environment = var.environment
      managed-by  = "opentofu"
    }
  }
}
