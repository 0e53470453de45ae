# For a tap: brew install OWNER/TAP/atl-sign
class AtlSign < Formula
  include Language::Python::Virtualenv

  desc "Credential daemon for Jira, Confluence, Bitbucket and Bamboo"
  url "@SDIST_URL@"
  sha256 "@SDIST_SHA256@"
  license "MIT"

  depends_on "bash" # macOS has 3.2
  depends_on "python@3.13"

  def install
    virtualenv_create(libexec, "python3.13", without_pip: false)
    python = libexec/"bin/python"
    system python, "-m", "pip", "install", "--require-hashes", "--requirement", "tests/tools/packages/runtime.txt"
    system python, "-m", "pip", "install", "--no-deps", buildpath
    bin.install_symlink libexec/"bin/atl-sign", libexec/"bin/atl-signd", libexec/"bin/git-credential-atl-sign"
    man1.install_symlink Dir[libexec/"share/man/man1/*.1"]
    bash_completion.install_symlink libexec/"share/bash-completion/completions/atl-sign"
    zsh_completion.install_symlink libexec/"share/zsh/site-functions/_atl-sign"
    fish_completion.install_symlink libexec/"share/fish/vendor_completions.d/atl-sign.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/atl-sign --version")
    system bin/"atl-sign", "demo"
  end
end
